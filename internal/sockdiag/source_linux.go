package sockdiag

import (
	"context"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// batchLen is the observations handed over at a time: few enough to stay in
// cache, enough to make the call cheap.
const batchLen = 512

// maxPending bounds the new sockets of one dump that wait for their owner to be
// looked up. More are reported without, and looked up with the next dump.
const maxPending = 1 << 16

// goneFor is the passes that a namespace is listed with no sockets in it, after
// it was last seen.
const goneFor = 3

// Source is a tcp.Source over netlink. It is used by one goroutine at a time.
type Source struct {
	cfg  Config
	self netns.Namespace
	in   *receiver

	keepsUID bool // see uidKept

	known   knownSet
	lookup  lookup
	pass    uint32
	dumped  map[uint32]uint32 // namespaces, with the last pass that had them
	scanned tcp.Stamp         // when owners were last looked up for all
	// pending are observations of sockets whose owner is being looked up, with
	// their places in known.
	pending []tcp.Observation
	slots   []uint32

	// walkNow asks for a walk before its time: closes were lost.
	walkNow bool
	warned  map[string]bool
}

var _ tcp.Source = (*Source)(nil)

// New prepares a source and makes sure that the kernel answers it. The error
// wraps tcp.ErrNotSupported where the kernel has no TCP socket monitoring.
func New(cfg Config) (*Source, error) {
	self, err := netns.Self()
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg:    cfg.withDefaults(),
		self:   self,
		in:     newReceiver(1, dumpBuffer),
		known:  newKnownSet(),
		lookup: newLookup(),
		dumped: make(map[uint32]uint32),
		warned: make(map[string]bool),
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		v := kernelVersion(unix.ByteSliceToString(name.Release[:]))
		s.keepsUID = slices.Compare(v[:], uidKept[:]) >= 0
	}
	if err := s.probe(); err != nil {
		return nil, err
	}
	return s, nil
}

// probe asks for the sockets in no state at all, which costs nothing.
func (s *Source) probe() error {
	return s.dump(context.Background(), s.self, 0, 0, func(*diagMessage) error { return nil }, nil)
}

// Kind implements tcp.Source.
func (s *Source) Kind() tcp.SourceKind { return tcp.SourceNetlink }

// Close implements tcp.Source. Nothing outlives Once and Run, so that it has
// nothing to do.
func (s *Source) Close() error { return nil }

// namespaces lists where to look, and whether that is the whole host.
func (s *Source) namespaces() (list []netns.Namespace, all bool, err error) {
	if s.cfg.Namespaces != nil {
		return s.cfg.Namespaces, false, nil
	}
	list, hidden, err := netns.List()
	if err != nil {
		return nil, false, err
	}
	return list, hidden == 0, nil
}

// warnOnce logs an error that would repeat with each dump.
func (s *Source) warnOnce(doing string, err error) {
	if !s.warned[doing] {
		s.warned[doing] = true
		s.cfg.Logger.Warn("failed, and may fail again", "doing", doing, "err", err)
	}
}

// Once implements tcp.Source.
func (s *Source) Once(ctx context.Context, sink tcp.Sink) error {
	return s.walk(ctx, &output{source: s, sink: sink}, nil)
}

// dump calls visit for every socket of a namespace in one of states, and after
// each datagram between, if not nil.
func (s *Source) dump(ctx context.Context, ns netns.Namespace, ext uint8, states uint32,
	visit func(*diagMessage) error, between func() error,
) error {
	c, err := dial(ns, unix.NETLINK_SOCK_DIAG, s.in)
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }()
	return c.dump(ctx, ext, states, visit, between)
}

// gone says that a namespace ended before it was entered.
func gone(err error) bool { return errors.Is(err, os.ErrNotExist) }
