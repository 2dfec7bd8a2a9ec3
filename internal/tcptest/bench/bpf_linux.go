package main

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// bpfStats reads the run time of BPF programs loaded since it was made, which
// the kernel counts as long as it is open.
type bpfStats struct {
	counting io.Closer
	old      map[ebpf.ProgramID]bool
}

// bpfTime is what programs used up, by program.
type bpfTime map[ebpf.ProgramID]ebpf.ProgramStats

func startBPFStats() (*bpfStats, error) {
	s := &bpfStats{old: make(map[ebpf.ProgramID]bool)}
	for _, id := range programs() {
		s.old[id] = true
	}
	var err error
	s.counting, err = ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *bpfStats) close() {
	if s != nil {
		_ = s.counting.Close()
	}
}

// programs lists what the kernel has loaded.
func programs() []ebpf.ProgramID {
	var ids []ebpf.ProgramID
	id := ebpf.ProgramID(0)
	for {
		next, err := ebpf.ProgramGetNextID(id)
		if err != nil {
			return ids
		}
		ids = append(ids, next)
		id = next
	}
}

// iterators lists the programs of BPF iterators: they belong to the walks over
// all sockets, not to single connections.
func iterators() map[ebpf.ProgramID]bool {
	ids := make(map[ebpf.ProgramID]bool)
	var it link.Iterator
	defer it.Close()
	for it.Next() {
		info, err := it.Link.Info()
		if err == nil && info.Type == link.IterType {
			ids[info.Program] = true
		}
	}
	return ids
}

// read returns the counts of all new programs but iterators.
func (s *bpfStats) read() bpfTime {
	t := make(bpfTime)
	if s == nil {
		return t
	}
	skip := iterators()
	for _, id := range programs() {
		if s.old[id] || skip[id] {
			continue
		}
		p, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) || p == nil {
			continue
		}
		if st, err := p.Stats(); err == nil {
			t[id] = *st
		}
		_ = p.Close()
	}
	return t
}

// sub is what was used up since an earlier reading.
func (t bpfTime) sub(earlier bpfTime) (spent time.Duration, runs uint64) {
	for id, st := range t {
		spent += st.Runtime - earlier[id].Runtime
		runs += st.RunCount - earlier[id].RunCount
	}
	return spent, runs
}
