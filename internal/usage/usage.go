package usage

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Config says where to look and how much work may be spent.
type Config struct {
	// Proc, Cgroup and Blocks are where proc, the unified control groups and the
	// block devices of sysfs are mounted.
	Proc, Cgroup, Blocks string
	// Host is the name that rows carry.
	Host string
	// NetNS is the inode number of the namespace that Proc shows the network of;
	// 0 counts the ports of all.
	NetNS uint32
	// Busiest is how many processes are told of for their CPU time, Sockets for
	// the number of their TCP sockets. They may be the same.
	Busiest, Sockets int
	// Scan is how many processes are looked at in one sample besides those of
	// the one before. Where there are more, each has its turn, and is told of
	// over the time since its last one.
	Scan int
	// Describe, if not nil, says more of a process that has no socket.
	Describe func(tcp.Owner) *tcp.Process
}

// DefaultConfig returns the configuration of the running host but for its name.
func DefaultConfig() Config {
	return Config{
		Proc: "/proc", Cgroup: "/sys/fs/cgroup", Blocks: "/sys/block",
		Busiest: 20, Sockets: 20, Scan: 400,
	}
}

// Every is how often to sample.
const Every = 10 * time.Second

// A Sampler remembers the counters of the last sample. It is not safe for
// concurrent use.
type Sampler struct {
	cfg   Config
	files files
	page  uint64 // bytes

	last tcp.Stamp // of the last sample; zero before the first
	host map[store.Measure]uint64
	// disks are the whole devices, looked for now and then.
	disks   map[string]diskBase
	disksAt int64

	processes map[int32]*process
	turn      []int32 // pids that wait for their turn
	groups    map[string]*group

	round uint64
	// scratch
	chosen []*process
	next   map[store.Measure]uint64
	ports  map[uint16]struct{}
	socks  map[tcp.ProcessID]*holder
}

// New returns a sampler. Its error wraps tcp.ErrNotSupported where there is no
// proc to read.
func New(cfg Config) (*Sampler, error) {
	s := &Sampler{
		cfg: cfg, page: uint64(os.Getpagesize()),
		host: make(map[store.Measure]uint64), next: make(map[store.Measure]uint64),
		disks: make(map[string]diskBase), processes: make(map[int32]*process), groups: make(map[string]*group),
		ports: make(map[uint16]struct{}), socks: make(map[tcp.ProcessID]*holder),
	}
	b, err := s.files.read(cfg.Proc + "/stat")
	if err == nil {
		_, err = parseStat(b)
	}
	if err != nil {
		return nil, fmt.Errorf("sampling usage: %s/stat: %w: %w", cfg.Proc, err, tcp.ErrNotSupported)
	}
	return s, nil
}

// Append samples once and appends the row of the host and those of processes to
// dst. The first sample has gauges only: how far counters went is known from the
// second on. snap, if not nil, tells who has sockets and which ports are taken.
func (s *Sampler) Append(dst []store.Usage, now tcp.Stamp, snap *tcp.Snapshot) []store.Usage {
	span := uint64(0)
	if !s.last.IsZero() {
		span = micros(now.Boot - s.last.Boot)
	}
	s.countSockets(snap)
	dst = append(dst, s.sampleHost(now, span, snap != nil))
	dst = s.sampleProcesses(dst, now)
	s.last = now
	s.round++
	return dst
}

// micros is a time of the boot clock as microseconds, 0 if it went back.
func micros(ns int64) uint64 {
	if ns < 0 {
		return 0
	}
	return uint64(ns) / 1000
}

// A holder is a process that has sockets.
type holder struct {
	process *tcp.Process
	sockets uint64
}

// countSockets finds who has how many sockets, and which local ports are taken.
func (s *Sampler) countSockets(snap *tcp.Snapshot) {
	clear(s.socks)
	clear(s.ports)
	if snap == nil {
		return
	}
	for _, c := range snap.Conns {
		if c.State == tcp.Closed || c.Source == tcp.SourceCapture {
			continue
		}
		if c.State != tcp.Listen && (s.cfg.NetNS == 0 || c.NetNS == s.cfg.NetNS) {
			s.ports[c.LocalPort] = struct{}{}
		}
		if c.Process == nil || c.Process.PID == 0 {
			continue
		}
		h := s.socks[c.Process.ProcessID]
		if h == nil {
			h = &holder{process: c.Process}
			s.socks[c.Process.ProcessID] = h
		}
		h.sockets++
	}
}

// files reads small files into memory that it keeps.
type files struct{ buf []byte }

// maxFile bounds a file: /proc/stat of a host with a thousand CPUs and many
// interrupts.
const maxFile = 1 << 20

var errTooLarge = errors.New("file is too large")

// read returns the contents of a file until the next read.
func (f *files) read(path string) ([]byte, error) {
	if f.buf == nil {
		f.buf = make([]byte, 16<<10)
	}
	h, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	for n := 0; ; {
		m, err := h.Read(f.buf[n:])
		n += m
		if m == 0 || err != nil {
			if err != nil && n == 0 && !isEOF(err) {
				return nil, err
			}
			return f.buf[:n], nil
		}
		if n == len(f.buf) {
			if n >= maxFile {
				return nil, fmt.Errorf("%s: %w", path, errTooLarge)
			}
			f.buf = append(f.buf, make([]byte, n)...)
		}
	}
}
