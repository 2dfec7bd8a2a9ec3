//go:build 386 || amd64 || arm64

package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// vmlinuxBTF is where a kernel built with CONFIG_DEBUG_INFO_BTF describes its
// types.
const vmlinuxBTF = "/sys/kernel/btf/vmlinux"

// hooks are the programs of Run, in the order they are attached.
var hooks = []string{
	collectorProgOnState, collectorProgOnStateAgain, collectorProgOnReceive,
	collectorProgOnSend, collectorProgOnCongestion, collectorProgOnRetransmit, collectorProgOnSendReset, collectorProgOnReceiveReset,
}

// required are the programs that nothing can replace.
var required = map[string]bool{
	collectorProgWalkTcp: true, collectorProgOnState: true, collectorProgOnStateAgain: true,
}

// load loads programs and maps into the kernel.
func (s *Source) load() error {
	if _, err := os.Stat(vmlinuxBTF); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the kernel has no type information (BTF) at %s: %w", vmlinuxBTF, tcp.ErrNotSupported)
		}
		return fmt.Errorf("looking for type information of the kernel: %w", err)
	}
	spec, err := loadCollector()
	if err != nil {
		return fmt.Errorf("reading the programs: %w", err)
	}
	if err := s.configure(spec); err != nil {
		return err
	}
	// All at once, because the parts are then found once. Only if that fails is
	// it worth the time to find out which is at fault.
	opts := ebpf.CollectionOptions{
		Cache:    btf.NewCache(),
		Programs: ebpf.ProgramOptions{LogDisabled: true},
	}
	coll, err := ebpf.NewCollectionWithOptions(spec.Copy(), opts)
	if err == nil {
		s.programs, s.maps, s.vars = coll.Programs, coll.Maps, coll.Variables
	} else if err := s.loadEach(spec, opts); err != nil {
		return err
	}
	return s.openIterators()
}

// configure sets the constants and leaves out what is not wanted.
func (s *Source) configure(spec *ebpf.CollectionSpec) error {
	if s.cfg.Snapshot {
		for _, name := range hooks {
			delete(spec.Programs, name)
		}
		delete(spec.Maps, collectorMapRing)
		delete(spec.Maps, collectorMapDropped)
	} else {
		spec.Maps[collectorMapRing].MaxEntries = uint32(s.cfg.RingBytes)
	}
	pidNS, only := s.pidNS, uint32(0)
	if s.rootPIDNS {
		pidNS = 0
	}
	if s.cfg.Namespace != nil {
		only = s.cfg.Namespace.Inode
	}
	for name, value := range map[string]any{
		collectorVarPidNs:     pidNS,
		collectorVarHomeNetns: s.home.Inode,
		collectorVarOnlyNetns: only,
		collectorVarWakeAt:    uint64(s.cfg.RingBytes / 4),
		collectorVarTracking:  !s.cfg.Snapshot,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// loadEach loads one program after the other, so that those that this kernel
// does not take are known.
func (s *Source) loadEach(spec *ebpf.CollectionSpec, opts ebpf.CollectionOptions) error {
	s.programs = make(map[string]*ebpf.Program)
	s.maps = make(map[string]*ebpf.Map)
	s.vars = make(map[string]*ebpf.Variable)
	s.missing = make(map[string]error)
	opts.Programs = ebpf.ProgramOptions{}
	opts.MapReplacements = s.maps
	for _, name := range append([]string{collectorProgWalkTcp, collectorProgWalkFiles}, hooks...) {
		program, ok := spec.Programs[name]
		if !ok {
			continue
		}
		one := spec.Copy()
		one.Programs = map[string]*ebpf.ProgramSpec{name: program}
		coll, err := ebpf.NewCollectionWithOptions(one, opts)
		if err != nil {
			err = classify(err, "loading "+describe(name))
			if required[name] || errors.Is(err, tcp.ErrPermission) {
				return err
			}
			s.missing[name] = err
			s.cfg.Logger.Warn("a program was not loaded", "program", name, "error", err)
			continue
		}
		s.programs[name] = coll.Programs[name]
		for name, m := range coll.Maps {
			if s.maps[name] != nil {
				m.Close()
				continue
			}
			s.maps[name] = m
			// Variables are memory of their map.
			for v, spec := range spec.Variables {
				if spec.SectionName == name {
					s.vars[v] = coll.Variables[v]
				}
			}
		}
	}
	return nil
}

// openIterators links the walks, which then wait to be started.
func (s *Source) openIterators() error {
	var err error
	s.tcpIter, err = link.AttachIter(link.IterOptions{Program: s.programs[collectorProgWalkTcp]})
	if err != nil {
		return classify(err, "attaching "+describe(collectorProgWalkTcp))
	}
	program := s.programs[collectorProgWalkFiles]
	if program == nil {
		return nil
	}
	s.filesIter, err = link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		if s.missing == nil {
			s.missing = make(map[string]error)
		}
		s.missing[collectorProgWalkFiles] = classify(err, "attaching "+describe(collectorProgWalkFiles))
	}
	return nil
}

// attach hangs a program into its tracepoint. The caller must keep the link.
func (s *Source) attach(name string) (link.Link, error) {
	program := s.programs[name]
	if program == nil {
		return nil, s.missing[name]
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return nil, classify(err, "attaching "+describe(name))
	}
	return l, nil
}

// classify says of an error of the kernel whether rights or the kernel itself
// are in the way.
func classify(err error, doing string) error {
	var rejected *ebpf.VerifierError
	switch {
	// Without rights probes of the kernel fail in ways of their own.
	case err != nil && !host.HasCapability(unix.CAP_SYS_ADMIN) &&
		(!host.HasCapability(unix.CAP_BPF) || !host.HasCapability(unix.CAP_PERFMON)):
		return fmt.Errorf("%s needs CAP_BPF and CAP_PERFMON, or root: %w (%w)", doing, tcp.ErrPermission, err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES) && !errors.As(err, &rejected):
		return fmt.Errorf("%s needs CAP_BPF and CAP_PERFMON, or root: %w (%w)", doing, tcp.ErrPermission, err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.As(err, &rejected),
		errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%s needs Linux 5.12 or newer with BTF: %w (%w)", doing, tcp.ErrNotSupported, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// describe names a program by what it hangs on.
func describe(name string) string {
	switch name {
	case collectorProgWalkTcp:
		return "iter/tcp"
	case collectorProgWalkFiles:
		return "iter/task_file"
	case collectorProgOnState:
		return "tracepoint inet_sock_set_state"
	case collectorProgOnStateAgain:
		return "second tracepoint inet_sock_set_state"
	case collectorProgOnReceive:
		return "tracepoint tcp_rcv_space_adjust"
	case collectorProgOnSend:
		return "tracepoint tcp_sendmsg_locked"
	case collectorProgOnRetransmit:
		return "tracepoint tcp_retransmit_skb"
	case collectorProgOnCongestion:
		return "tracepoint tcp_cong_state_set"
	case collectorProgOnSendReset:
		return "tracepoint tcp_send_reset"
	case collectorProgOnReceiveReset:
		return "tracepoint tcp_receive_reset"
	default:
		return name
	}
}

// jiffiesPerSecond returns the kernel's CONFIG_HZ, which the resolution of its
// coarse clocks gives away (KTIME_LOW_RES is TICK_NSEC, include/linux/ktime.h).
func jiffiesPerSecond() (uint64, error) {
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err != nil {
		return 0, fmt.Errorf("reading the kernel's tick: %w", err)
	}
	ns := tick.Nano()
	if ns <= 0 || ns > 1e9 {
		return 0, fmt.Errorf("reading the kernel's tick: %d ns", ns)
	}
	return uint64((1e9 + ns/2) / ns), nil
}
