package usage

import (
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A process as it was when it was last looked at.
type process struct {
	pid  int32
	stat processStat
	at   tcp.Stamp
	// cpu is what it used since the look before that, if usedKnown, over span.
	cpu, user, system, span uint64
	known                   bool
	// seen is the round in which it was looked at, told the one in which a row
	// was made of it.
	seen, told uint64
	details    *tcp.Process
	sockets    uint64
	// io are the counters of /proc/PID/io when they were last read.
	read, written uint64
	ioAt          tcp.Stamp
}

// A group is the stall times of a control group.
type group struct {
	totals [store.NumMeasures]uint64
	has    uint64
	at     tcp.Stamp
	// deltas are those of this round, over span.
	deltas [store.NumMeasures]uint64
	known  uint64
	round  uint64
}

// kthreadRounds is for how many rounds a thread of the kernel is taken to be one
// still, and not looked at.
const kthreadRounds = 6

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// sampleProcesses looks at processes, chooses the busiest and those with most
// sockets, and appends a row for each.
func (s *Sampler) sampleProcesses(dst []store.Usage, now tcp.Stamp) []store.Usage {
	for _, pid := range s.look() {
		s.lookAt(pid, now)
	}
	for _, p := range s.choose() {
		dst = append(dst, s.row(p, now))
	}
	for path, g := range s.groups {
		if g.round != s.round {
			delete(s.groups, path)
		}
	}
	return dst
}

// look lists the processes of this sample: those of the last one, those with
// most sockets, and as many others as there may be, in turn.
func (s *Sampler) look() []int32 {
	alive := s.listProcesses()
	if alive == nil {
		return nil
	}
	for pid := range s.processes {
		if _, ok := alive[pid]; !ok {
			delete(s.processes, pid)
		}
	}
	var pids []int32
	take := func(pid int32) {
		if state, ok := alive[pid]; ok && !state {
			alive[pid] = true
			pids = append(pids, pid)
		}
	}
	for pid, p := range s.processes {
		if p.told == s.round && s.round > 0 {
			take(pid)
		}
	}
	for _, h := range s.most() {
		take(h.process.PID)
	}
	budget := max(s.cfg.Scan, 1)
	for budget > 0 && len(s.turn) > 0 {
		before := len(pids)
		take(s.turn[0])
		s.turn = s.turn[1:]
		budget -= len(pids) - before
	}
	if len(s.turn) == 0 {
		// The next turn: all that were not looked at in this one, in order.
		for pid, done := range alive {
			if p := s.processes[pid]; p != nil && p.stat.kthread && s.round-p.seen < kthreadRounds {
				continue
			}
			if !done {
				s.turn = append(s.turn, pid)
			}
		}
		slices.Sort(s.turn)
		for budget > 0 && len(s.turn) > 0 {
			take(s.turn[0])
			s.turn = s.turn[1:]
			budget--
		}
	}
	return pids
}

// listProcesses lists /proc; nil when it cannot be read.
func (s *Sampler) listProcesses() map[int32]bool {
	d, err := os.Open(s.cfg.Proc)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil
	}
	alive := make(map[int32]bool, len(names))
	for _, n := range names {
		if n[0] < '1' || n[0] > '9' {
			continue
		}
		if pid, err := strconv.ParseInt(n, 10, 32); err == nil {
			alive[int32(pid)] = false
		}
	}
	return alive
}

// most are the processes with most sockets.
func (s *Sampler) most() []*holder {
	list := make([]*holder, 0, len(s.socks))
	for _, h := range s.socks {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *holder) int {
		return cmp.Or(cmp.Compare(b.sockets, a.sockets), cmp.Compare(a.process.PID, b.process.PID))
	})
	return list[:min(len(list), s.cfg.Sockets)]
}

// lookAt reads the status of a process.
func (s *Sampler) lookAt(pid int32, now tcp.Stamp) {
	b, err := s.files.read(s.path(pid, "stat"))
	if err != nil {
		delete(s.processes, pid)
		return
	}
	st, err := parseProcess(b)
	if err != nil {
		delete(s.processes, pid)
		return
	}
	p := s.processes[pid]
	if p != nil && p.stat.start != st.start {
		p = nil // the number belongs to another one now
	}
	if p == nil {
		p = &process{pid: pid, stat: st}
		s.processes[pid] = p
		// One that began after the last sample has used nothing before.
		if p.known = !s.last.IsZero() && int64(st.start) > s.last.Boot; p.known {
			p.user, p.system, p.span = st.user, st.system, micros(now.Boot-s.last.Boot)
		}
	} else {
		p.known = st.user >= p.stat.user && st.system >= p.stat.system
		if p.known {
			p.user, p.system, p.span = st.user-p.stat.user, st.system-p.stat.system, micros(now.Boot-p.at.Boot)
		}
		p.stat = st
	}
	p.at, p.seen = now, s.round
	p.sockets, p.cpu = 0, 0
	if p.known {
		p.cpu = p.user + p.system
	} else {
		p.span = 0
	}
	if h := s.socks[tcp.ProcessID{PID: pid, Start: st.start}]; h != nil {
		p.sockets, p.details = h.sockets, h.process
	}
}

func (s *Sampler) path(pid int32, file string) string {
	return s.cfg.Proc + "/" + strconv.Itoa(int(pid)) + "/" + file
}

// choose returns the processes of which rows are made: the busiest by the share
// of a CPU that they used, and those with most sockets.
func (s *Sampler) choose() []*process {
	list := s.chosen[:0]
	for _, p := range s.processes {
		if p.seen == s.round && !p.stat.kthread && p.stat.state != 'Z' && p.stat.state != 'X' {
			list = append(list, p)
		}
	}
	byPID := func(a, b *process) int { return cmp.Compare(a.pid, b.pid) }
	slices.SortFunc(list, func(a, b *process) int {
		return cmp.Or(cmp.Compare(b.share(), a.share()), byPID(a, b))
	})
	busy := 0
	for busy < len(list) && busy < s.cfg.Busiest && list[busy].cpu > 0 {
		list[busy].told = s.round + 1
		busy++
	}
	rest := list[busy:]
	slices.SortFunc(rest, func(a, b *process) int {
		return cmp.Or(cmp.Compare(b.sockets, a.sockets), byPID(a, b))
	})
	n := 0
	for n < len(rest) && n < s.cfg.Sockets && rest[n].sockets > 0 {
		rest[n].told = s.round + 1
		n++
	}
	s.chosen = list
	return list[:busy+n]
}

// share is the part of a CPU that was used.
func (p *process) share() float64 {
	if p.span == 0 {
		return 0
	}
	return float64(p.cpu) / float64(p.span)
}

func (s *Sampler) row(p *process, now tcp.Stamp) store.Usage {
	u := store.Usage{
		Time: now.Wall, Span: p.span, Host: s.cfg.Host, Scope: store.ScopeProcess,
		PID: uint64(p.pid), Process: p.stat.comm, Started: now.At(int64(p.stat.start)).Wall,
	}
	if p.details == nil && s.cfg.Describe != nil {
		owner := tcp.Owner{PID: p.pid, Start: p.stat.start}
		copy(owner.Comm[:len(owner.Comm)-1], p.stat.comm)
		p.details = s.cfg.Describe(owner)
	}
	if d := p.details; d != nil {
		u.User, u.Container, u.Unit = d.User, d.Container, d.Unit
	}
	if p.known {
		u.Set(store.CPUUser, p.user)
		u.Set(store.CPUSystem, p.system)
	}
	u.Set(store.Threads, p.stat.threads)
	u.Set(store.Memory, p.stat.rss*s.page)
	u.Set(store.Sockets, p.sockets)
	s.processIO(p, &u, now)
	// Since Linux 6.2 the size of the directory is the number of descriptors.
	if st, err := os.Stat(s.path(p.pid, "fd")); err == nil && st.Size() > 0 {
		u.Set(store.FDs, uint64(st.Size()))
	}
	s.processPressure(p, &u, now)
	return u
}

// processIO reads what a process moved to and from disks since its row before.
// It needs the rights of ptrace.
func (s *Sampler) processIO(p *process, u *store.Usage, now tcp.Stamp) {
	b, err := s.files.read(s.path(p.pid, "io"))
	if err != nil {
		return
	}
	var read, written uint64
	n := 0
	eachPair(b, func(name []byte, v uint64) {
		switch string(name) {
		case "read_bytes":
			read = v
			n++
		case "write_bytes":
			written = v
			n++
		}
	})
	if n != 2 {
		return
	}
	begun := p.ioAt.IsZero() && !s.last.IsZero() && int64(p.stat.start) > s.last.Boot
	same := !p.ioAt.IsZero() && micros(now.Boot-p.ioAt.Boot) == u.Span
	if (begun || same) && read >= p.read && written >= p.written {
		u.Set(store.ReadBytes, read-p.read)
		u.Set(store.WrittenBytes, written-p.written)
	}
	p.read, p.written, p.ioAt = read, written, now
}

// processPressure adds the stall times of a process's control group.
func (s *Sampler) processPressure(p *process, u *store.Usage, now tcp.Stamp) {
	b, err := s.files.read(s.path(p.pid, "cgroup"))
	if err != nil || s.last.IsZero() || u.Span != micros(now.Boot-s.last.Boot) {
		return // they are of the last sample's time
	}
	path, ok := cgroupPath(b)
	// The root has the host's numbers; a path that leads upwards lies outside of
	// what is mounted here.
	if !ok || path == "/" || strings.Contains(path, "/..") {
		return
	}
	g := s.groups[path]
	if g == nil {
		g = &group{round: s.round - 1}
		s.groups[path] = g
	}
	if g.round != s.round {
		s.lookAtGroup(g, path, now)
	}
	for _, t := range pressures {
		for _, m := range [...]store.Measure{t.some, t.full} {
			if g.known&(1<<m) != 0 {
				u.Set(m, g.deltas[m])
			}
		}
	}
}

// lookAtGroup reads the stall times of a group once a round. They are told only
// where they cover the time of a sample.
func (s *Sampler) lookAtGroup(g *group, path string, now tcp.Stamp) {
	before := *g
	g.has, g.known, g.round = 0, 0, s.round
	s.readPressure(s.cfg.Cgroup+path, ".pressure", func(m store.Measure, v uint64) {
		if before.has&(1<<m) != 0 && before.at == s.last && v >= before.totals[m] {
			g.deltas[m] = v - before.totals[m]
			g.known |= 1 << m
		}
		g.totals[m] = v
		g.has |= 1 << m
	})
	g.at = now
}
