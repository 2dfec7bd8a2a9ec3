package procfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// batchSize is the number of observations handed over at once.
const batchSize = 512

// Source shows the sockets of /proc/net/tcp and /proc/net/tcp6 of all network
// namespaces: states, queues, users and processes. Between two passes it sees
// nothing, so a short connection shows only in TIME_WAIT, if at all.
type Source struct {
	cfg       Config
	owners    *Owners
	processes *Processes

	reader tables
	// rows are those of the current pass, of all namespaces.
	rows  []row
	known map[uint32]*owned
	want  map[uint32]struct{}
	// listeners are the owners of the listeners of the current pass.
	listeners map[listenKey]uint32
	// generation counts passes.
	generation uint32
	rescan     int64
	batch      tcp.Batch
}

// owned is what is known of the holder of one socket.
type owned struct {
	owner tcp.Owner
	// tuple tells the socket from a later one with the same inode number.
	tuple      tcp.Tuple
	generation uint32
	// due is when to look again, on the boot clock; tries counts how often
	// nobody was found.
	due   int64
	tries uint8
}

// listenKey is where a connection finds its listener.
type listenKey struct {
	netns uint32
	addr  tcp.Addr
	port  uint16
	ipv6  bool
}

// ambiguous marks a listening end that several sockets share.
const ambiguous = 0

// New returns the source. It fails with an error wrapping tcp.ErrNotSupported
// when there is no readable table below cfg.Root.
func New(cfg Config) (*Source, error) {
	cfg = cfg.withDefaults()
	if cfg.Now == nil {
		cfg.Now = host.Now
	}
	path := cfg.Root + "/net/tcp"
	if cfg.Root != defaultRoot {
		path = cfg.Root + "/1/net/tcp"
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("the procfs source: %w: %w", err, tcp.ErrPermission)
	case err != nil && cfg.Root == defaultRoot:
		return nil, fmt.Errorf("the procfs source needs proc mounted at %s, without subset=pid: %w: %w", cfg.Root, err, tcp.ErrNotSupported)
	case err == nil:
		f.Close()
	}
	s := &Source{
		cfg:       cfg,
		owners:    cfg.Owners,
		processes: cfg.Processes,
		reader:    tables{cfg: cfg, sets: make(map[uint32]int)},
		known:     make(map[uint32]*owned),
		want:      make(map[uint32]struct{}),
		listeners: make(map[listenKey]uint32),
	}
	if s.owners == nil {
		s.owners = NewOwners(cfg)
	}
	if s.processes == nil {
		s.processes = NewProcesses(cfg)
	}
	return s, nil
}

// Kind returns tcp.SourceProcfs.
func (*Source) Kind() tcp.SourceKind { return tcp.SourceProcfs }

// Close does nothing: the source keeps no file open between passes.
func (*Source) Close() error { return nil }

// Once walks the tables of all namespaces.
func (s *Source) Once(ctx context.Context, sink tcp.Sink) error { return s.pass(ctx, sink) }

// Run walks the tables every PollEvery until ctx ends.
func (s *Source) Run(ctx context.Context, sink tcp.Sink) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		begin := s.cfg.Now()
		if err := s.pass(ctx, sink); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				return nil
			}
			return err
		}
		took := s.cfg.Now().Sub(begin)
		timer.Reset(max(s.cfg.PollEvery-took, 3*took, time.Millisecond))
	}
}

// pass walks all tables once and hands over what they show.
func (s *Source) pass(ctx context.Context, sink tcp.Sink) error {
	s.generation++
	begin := s.cfg.Now()
	s.rows = s.rows[:0]
	var view coverage
	var err error
	s.rows, err = s.reader.walk(ctx, s.rows, &view)
	if err != nil {
		return err
	}
	when := s.cfg.Now()
	if err := s.findOwners(ctx, begin); err != nil {
		return err
	}
	b := &s.batch
	b.Source = tcp.SourceProcfs
	for i, last := 0, false; !last; {
		n := min(batchSize, len(s.rows)-i)
		b.Observations, b.Processes = b.Observations[:0], b.Processes[:0]
		for j := range s.rows[i : i+n] {
			s.observe(&s.rows[i+j], when)
		}
		i += n
		last = i == len(s.rows)
		b.Time = s.cfg.Now()
		b.Pass = tcp.Pass{Kind: tcp.PassFull, Begin: begin, End: last, Minis: true}
		if last {
			b.Pass.Namespaces, b.Pass.AllNamespaces = view.covered, view.all
			b.Pass.Incomplete = strings.Join(view.problems, "; ")
		}
		if err := sink(b); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil && !last {
			return err
		}
	}
	return nil
}

// observe appends one row to the batch.
func (s *Source) observe(r *row, when tcp.Stamp) {
	s.batch.Observations = append(s.batch.Observations, tcp.Observation{})
	o := &s.batch.Observations[len(s.batch.Observations)-1]
	r.observe(o)
	o.Time = when
	switch {
	case r.inode != 0:
		if k := s.known[r.inode]; k != nil && k.owner.PID != 0 {
			o.Owner, o.Attribution = k.owner, tcp.AttributionScan
		}
	case r.waiting():
		// No descriptor leads to it before it is accepted.
		if k := s.known[s.listener(r)]; k != nil && k.owner.PID != 0 {
			o.Owner, o.Attribution = k.owner, tcp.AttributionInherited
		}
	}
	if o.Owner.PID != 0 {
		if process, isNew := s.processes.Resolve(o.Owner); isNew {
			s.batch.Processes = append(s.batch.Processes, process)
		}
	}
}

// observe fills in what the row says. o is zero.
func (r *row) observe(o *tcp.Observation) {
	o.Kind = tcp.Seen
	o.Key = tcp.Key{Tuple: r.Tuple, NetNS: r.netns}
	o.State, o.IPv6, o.Mini = r.state, r.ipv6, r.mini()
	switch r.state {
	case tcp.Listen:
		o.Direction = tcp.Listening
	case tcp.SynSent:
		o.Direction = tcp.Outbound
	case tcp.SynRecv:
		if o.Mini {
			o.Direction = tcp.Inbound
		}
	default: // the tracker can tell better
	}
	if r.inode != 0 {
		o.Inode = r.inode
		o.Has |= tcp.HasInode
	}
	// TIME_WAIT shows no user, and older kernels print 0 for all sockets without
	// a file.
	if r.inode != 0 || r.uid != 0 || r.state == tcp.SynRecv && o.Mini {
		o.UID = r.uid
		o.Has |= tcp.HasUID
	}
	m := &o.Metrics
	switch {
	case o.Mini || !r.full:
	case r.state == tcp.Listen:
		// The other columns of a listener are the defaults of its children.
		m.AcceptQueue = r.rx
		o.Has |= tcp.HasAcceptQueue
	default:
		m.SendQueue, m.RecvQueue = r.tx, r.rx
		m.CWND = r.cwnd
		o.Has |= tcp.HasSendQueue | tcp.HasRecvQueue | tcp.HasCWND
		if r.hasSSThresh {
			m.SSThresh = r.ssthresh
			o.Has |= tcp.HasSSThresh
		}
	}
}

// waiting reports whether the row is of a connection that its listener has not
// handed out: one without a file in a state that a close would have ended.
func (r *row) waiting() bool {
	return r.inode == 0 && (r.state == tcp.SynRecv || r.full && (r.state == tcp.Established || r.state == tcp.CloseWait))
}

// listener returns the inode number of the socket that a connection comes from.
func (s *Source) listener(r *row) uint32 {
	key := listenKey{netns: r.netns, addr: r.Local, port: r.LocalPort, ipv6: r.ipv6}
	if ino, ok := s.listeners[key]; ok {
		return ino
	}
	key.addr = tcp.Addr{}
	if !r.ipv6 {
		key.addr = tcp.AddrFrom4([4]byte{})
	}
	return s.listeners[key]
}

// findOwners looks up the holders of the sockets of which none is known yet, or
// of all when it is time.
func (s *Source) findOwners(ctx context.Context, now tcp.Stamp) error {
	if now.Boot-s.rescan >= int64(s.cfg.RescanEvery) {
		s.rescan = now.Boot
		clear(s.known)
	}
	clear(s.want)
	clear(s.listeners)
	for i := range s.rows {
		r := &s.rows[i]
		if r.state == tcp.Listen {
			key := listenKey{netns: r.netns, addr: r.Local, port: r.LocalPort, ipv6: r.ipv6}
			if _, shared := s.listeners[key]; shared {
				s.listeners[key] = ambiguous
			} else {
				s.listeners[key] = r.inode
			}
		}
		if r.inode == 0 {
			continue
		}
		k := s.known[r.inode]
		if k == nil || k.tuple != r.Tuple {
			k = &owned{tuple: r.Tuple}
			s.known[r.inode] = k
		}
		k.generation = s.generation
		if k.owner.PID == 0 && now.Boot >= k.due {
			s.want[r.inode] = struct{}{}
		}
	}
	for inode, k := range s.known {
		if k.generation != s.generation {
			delete(s.known, inode)
		}
	}
	err := s.owners.Resolve(ctx, s.want, func(inode uint32, o tcp.Owner) {
		s.known[inode].owner = o
	})
	if err != nil {
		return err
	}
	// The rest is hidden, or was closed meanwhile: look again, ever less often.
	for inode := range s.want {
		k := s.known[inode]
		if k.owner.PID != 0 {
			continue
		}
		k.due = now.Boot + int64(time.Second)<<k.tries
		k.tries = min(k.tries+1, 5)
	}
	return nil
}

// Features says what the source shows here, and what it never can.
func (s *Source) Features() []tcp.Feature {
	features := []tcp.Feature{s.tablesFeature(), s.namespacesFeature()}
	if v, err := Look(s.cfg); err != nil {
		features = append(features, tcp.Feature{Name: "procfs.processes", Reason: err.Error(), Remedy: "mount proc"})
	} else {
		features = append(features, v.Feature())
	}
	return append(features, tcp.Feature{
		Name: "procfs.metrics",
		Reason: "/proc/net/tcp has no byte counts, RTT, exact RTO, retransmissions or socket cookies, and shows nothing of connections that are shorter than a poll; " +
			"ids of connections do not outlive the program",
		Remedy: "use the ebpf or the netlink source: kernel with BTF and CAP_BPF, CAP_PERFMON, or CONFIG_INET_DIAG",
	})
}

func (s *Source) tablesFeature() tcp.Feature {
	f := tcp.Feature{Name: "procfs.tables"}
	rows, _, err := s.reader.read(nil, openSelf(s.cfg.Root), 0)
	switch {
	case err == nil:
		f.Available = true
		f.Reason = "states, queues, users and processes of the sockets in net/tcp and net/tcp6"
	case len(rows) > 0:
		f.Available = true
		f.Reason = err.Error()
	default:
		f.Reason = err.Error()
		f.Remedy = "mount proc without subset=pid"
	}
	return f
}

func (s *Source) namespacesFeature() tcp.Feature {
	f := tcp.Feature{Name: "procfs.namespaces"}
	list, hidden, err := s.reader.list()
	switch {
	case err != nil:
		f.Reason = err.Error()
	case hidden > 0:
		f.Reason = fmt.Sprintf("the network namespaces of %s are hidden; %d are seen", count(hidden, "process", "processes"), len(list))
		f.Remedy = "run as root or with CAP_SYS_PTRACE"
	case !host.HasCapability(unix.CAP_SYS_ADMIN):
		f.Available = true
		f.Reason = count(len(list), "network namespace is seen", "network namespaces are seen") + "; one without a process cannot be entered"
		f.Remedy = "run as root or with CAP_SYS_ADMIN"
	default:
		f.Available = true
		f.Reason = count(len(list), "network namespace is seen", "network namespaces are seen")
	}
	return f
}
