//go:build 386 || amd64 || arm64

package bpf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Modes of the walks: enum walk and enum files of bpf/maps.bpf.h.
const (
	walkFull  uint32 = 0
	walkDelta uint32 = 1

	filesSeed    uint32 = 0
	filesForeign uint32 = 1
	filesRest    uint32 = 2
)

// readSize is twice what the kernel gives out in one read of an iterator.
const readSize = 64 << 10

// Once walks all sockets and hands them to sink.
func (s *Source) Once(ctx context.Context, sink tcp.Sink) error {
	s.batch.start(sink, s.cfg.Now, s.hz, s.home.Inode)
	_, err := s.fullPass(ctx)
	return err
}

// fullPass walks the files of all processes for the owners of sockets, then the
// sockets of each namespace. foreign says that namespaces other than the own one
// have sockets. A context that ends cuts the pass short without an error.
func (s *Source) fullPass(ctx context.Context) (foreign bool, err error) {
	s.beginPass(tcp.PassFull)
	s.batch.foreign = false
	s.batch.batch.Pass.Minis = true
	if err := s.set(collectorVarWalkMinis, 1); err != nil {
		return false, err
	}
	if err := s.seed(ctx); err != nil {
		return false, err
	}
	namespaces, hidden, err := s.namespaces()
	if err != nil {
		return false, err
	}
	if err := s.set(collectorVarWalkMode, walkFull); err != nil {
		return false, err
	}
	covered, failed := make([]uint32, 0, len(namespaces)), 0
	for _, ns := range namespaces {
		switch gone, err := s.walkNamespace(ctx, ns); {
		case ctx.Err() != nil:
			return false, nil
		case err != nil && (ns.Inode == s.home.Inode || s.batch.refused != nil):
			return false, err
		case err != nil:
			failed++
			s.cfg.Logger.Debug("a namespace was not walked", "namespace", ns.String(), "error", err)
		case !gone:
			covered = append(covered, ns.Inode)
		}
	}
	unlisted, err := s.walkUnlisted(ctx, covered)
	if err != nil || ctx.Err() != nil {
		return false, err
	}
	all := s.cfg.Namespace == nil && s.rootPIDNS && s.filesIter != nil &&
		hidden == 0 && failed == 0 && !unlisted
	return s.batch.foreign || unlisted, s.batch.endPass(covered, all)
}

// deltaPass reports what changed since the last pass: in the home namespace,
// and with foreign in the others too, as far as processes have files there. With
// minis it shows the mini-sockets of the home namespace, all of them. Before it
// ends, events hands over what happened meanwhile, so that the number of sockets
// walked means something.
func (s *Source) deltaPass(ctx context.Context, foreign, minis bool, events func() error) error {
	s.beginPass(tcp.PassDelta)
	s.batch.batch.Pass.Minis = minis
	show := uint32(0)
	if minis {
		show = 1
	}
	if err := s.set(collectorVarWalkMinis, show); err != nil {
		return err
	}
	if err := s.set(collectorVarWalked, 0); err != nil {
		return err
	}
	if err := s.set(collectorVarWalkMode, walkDelta); err != nil {
		return err
	}
	covered := make([]uint32, 0, 1)
	switch gone, err := s.walkNamespace(ctx, s.home); {
	case err != nil:
		return err
	case !gone:
		covered = append(covered, s.home.Inode)
	}
	if foreign && s.filesIter != nil && s.cfg.Namespace == nil {
		if err := s.walkFiles(ctx, filesForeign); err != nil {
			return err
		}
	}
	var walked uint32
	if err := s.vars[collectorVarWalked].Get(&walked); err != nil {
		return fmt.Errorf("reading %s: %w", collectorVarWalked, err)
	}
	pass := s.batch.batch.Pass
	if err := s.batch.send(); err != nil {
		return err
	}
	if err := events(); err != nil || ctx.Err() != nil {
		return err
	}
	s.batch.batch.Pass = pass
	if len(covered) > 0 {
		s.batch.batch.Pass.Sockets = int(walked)
	}
	return s.batch.endPass(covered, false)
}

func (s *Source) beginPass(kind tcp.PassKind) {
	s.pass++
	s.batch.begin(kind)
}

// seed notes the owner of every socket that a process has open.
func (s *Source) seed(ctx context.Context) error {
	if err := s.set(collectorVarPass, s.pass); err != nil {
		return err
	}
	if s.filesIter == nil {
		return nil
	}
	// Inode numbers come back: what an earlier pass found does not hold.
	if _, err := drainKeys(s.maps[collectorMapInodeOwners]); err != nil {
		return err
	}
	if _, err := drainKeys(s.maps[collectorMapNetnsSeen]); err != nil {
		return err
	}
	return s.walkFiles(ctx, filesSeed)
}

// namespaces lists what a full pass has to walk.
func (s *Source) namespaces() ([]netns.Namespace, int, error) {
	if s.cfg.Namespace != nil {
		return []netns.Namespace{*s.cfg.Namespace}, 0, nil
	}
	return netns.List()
}

// walkNamespace walks the sockets of one namespace; gone says that it no longer
// exists.
func (s *Source) walkNamespace(ctx context.Context, ns netns.Namespace) (gone bool, err error) {
	for range 3 {
		var r io.ReadCloser
		err = ns.Do(func() error {
			var err error
			r, err = s.tcpIter.Open()
			return err
		})
		if err == nil {
			return false, s.read(ctx, r)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("walking the sockets of %s: %w", ns, err)
		}
		if s.cfg.Namespace != nil {
			break
		}
		// The process that stood for the namespace has ended or moved; another
		// may still be in it.
		list, _, lerr := netns.List()
		if lerr != nil {
			return false, lerr
		}
		i := slices.IndexFunc(list, func(n netns.Namespace) bool { return n.Inode == ns.Inode })
		if i < 0 {
			return true, nil
		}
		ns = list[i]
	}
	return false, err
}

// walkUnlisted shows the sockets of namespaces that no listed process is in, or
// that could not be entered: those that processes have open.
func (s *Source) walkUnlisted(ctx context.Context, covered []uint32) (unlisted bool, err error) {
	if s.filesIter == nil {
		return false, nil
	}
	seen, err := drainKeys(s.maps[collectorMapNetnsSeen])
	if err != nil {
		return false, err
	}
	if _, err := drainKeys(s.maps[collectorMapInodeOwners]); err != nil {
		return false, err
	}
	for _, ns := range seen {
		if !slices.Contains(covered, ns) {
			unlisted = true
		}
	}
	if !unlisted {
		return false, nil
	}
	return true, s.walkFiles(ctx, filesRest)
}

func (s *Source) walkFiles(ctx context.Context, mode uint32) error {
	if err := s.set(collectorVarFilesMode, mode); err != nil {
		return err
	}
	r, err := s.open(s.filesIter)
	if err != nil {
		return fmt.Errorf("walking the files of processes: %w", err)
	}
	return s.read(ctx, r)
}

func (s *Source) open(it *link.Iter) (io.ReadCloser, error) { return it.Open() }

// read takes in what a walk writes, and closes it.
func (s *Source) read(ctx context.Context, r io.ReadCloser) error {
	defer r.Close()
	have := 0
	for ctx.Err() == nil {
		n, err := r.Read(s.buf[have:])
		have += n
		used, perr := s.batch.parse(s.buf[:have])
		if perr != nil {
			return perr
		}
		copy(s.buf, s.buf[used:have])
		have -= used
		if s.meanwhile != nil {
			if err := s.meanwhile(); err != nil {
				return err
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if have != 0 {
				return fmt.Errorf("walking sockets: %d bytes after the last record", have)
			}
			return nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			// The kernel pauses after a million sockets with nothing to show.
		default:
			return fmt.Errorf("walking sockets: %w", err)
		}
	}
	return nil
}

// set writes a variable of the programs.
func (s *Source) set(name string, v uint32) error {
	if err := s.vars[name].Set(v); err != nil {
		return fmt.Errorf("setting %s: %w", name, err)
	}
	return nil
}

// drainKeys empties a map and returns what its keys were.
func drainKeys(m *ebpf.Map) ([]uint32, error) {
	var keys []uint32
	for {
		var key uint32
		err := m.NextKey(nil, &key)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return keys, nil
		}
		if err == nil {
			err = m.Delete(key)
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("emptying map %s: %w", m, err)
		}
		keys = append(keys, key)
	}
}
