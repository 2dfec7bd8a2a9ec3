//go:build 386 || amd64 || arm64

package bpf

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Source sees sockets through programs in the kernel. It implements tcp.Source.
type Source struct {
	cfg  Config
	home netns.Namespace
	// pidNS is the inode of this process's pid namespace; rootPIDNS says that
	// every process of the host is visible in it.
	pidNS     uint32
	rootPIDNS bool
	hz        uint64

	programs map[string]*ebpf.Program
	maps     map[string]*ebpf.Map
	vars     map[string]*ebpf.Variable
	// missing says why a program that the source can do without was not loaded.
	missing map[string]error
	// The links of iterators stay: one that is collected detaches silently.
	tcpIter, filesIter *link.Iter

	pass  uint32
	batch batcher
	buf   []byte
	drops drops
	// meanwhile is called again and again during walks, when set.
	meanwhile func() error

	probe    sync.Once
	features []tcp.Feature
}

var _ tcp.Source = (*Source)(nil)

// New loads the programs. It fails when the source could not show every
// connection's beginning and end: the error wraps tcp.ErrNotSupported or
// tcp.ErrPermission and says what is missing. What the source can do without is
// left out, see Features.
func New(cfg Config) (*Source, error) {
	s := &Source{cfg: cfg, buf: make([]byte, readSize)}
	if err := s.locate(); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// locate finds out where in the host's namespaces this process is.
func (s *Source) locate() error {
	var err error
	if s.cfg.Namespace != nil {
		s.home = *s.cfg.Namespace
	} else if s.home, err = netns.Self(); err != nil {
		return err
	}
	if s.pidNS, s.rootPIDNS, err = host.PIDNamespace(); err != nil {
		return err
	}
	s.hz, err = jiffiesPerSecond()
	return err
}

// Kind returns tcp.SourceEBPF.
func (s *Source) Kind() tcp.SourceKind { return tcp.SourceEBPF }

// Close unloads everything.
func (s *Source) Close() error {
	var errs []error
	for _, it := range []*link.Iter{s.tcpIter, s.filesIter} {
		if it != nil {
			errs = append(errs, it.Close())
		}
	}
	s.tcpIter, s.filesIter = nil, nil
	for name, p := range s.programs {
		errs = append(errs, p.Close())
		delete(s.programs, name)
	}
	for name, m := range s.maps {
		errs = append(errs, m.Close())
		delete(s.maps, name)
	}
	clear(s.vars)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("unloading: %w", err)
	}
	return nil
}
