//go:build 386 || amd64 || arm64

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// What helps where something is missing.
const (
	remedyKernel = "use Linux 5.12 or newer, built with CONFIG_DEBUG_INFO_BTF"
	remedyRights = "run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_SYS_PTRACE"
	remedyEnter  = "run as root, or with CAP_SYS_ADMIN"
)

// hookFeatures is what each hook gives, and what is lost without it.
var hookFeatures = map[string]struct{ name, without string }{
	collectorProgOnState:        {"ebpf.lifecycle", "beginnings and ends of connections are not seen"},
	collectorProgOnStateAgain:   {"ebpf.lifecycle_nested", "changes of state that interrupt one another are not seen"},
	collectorProgOnReceive:      {"ebpf.worker_receive", "a worker that only reads is taken for its listener"},
	collectorProgOnSend:         {"ebpf.worker_send", "a worker that only writes is taken for its listener"},
	collectorProgOnRetransmit:   {"ebpf.retransmits", "retransmissions are counted, but are no events"},
	collectorProgOnCongestion:   {"ebpf.congestion", "recoveries and timeouts are not counted"},
	collectorProgOnSendReset:    {"ebpf.resets_sent", "a RST that this host sends is inferred from how the connection ended"},
	collectorProgOnReceiveReset: {"ebpf.resets_received", "a RST from the peer is inferred from how the connection ended"},
}

// Features reports what each part of the source can do here. The first call
// attaches every program for a moment.
func (s *Source) Features() []tcp.Feature {
	s.probe.Do(func() {
		s.features = append(s.features, s.probeWalk(collectorProgWalkTcp, "ebpf.sockets", "sockets cannot be listed"))
		s.features = append(s.features, s.probeWalk(collectorProgWalkFiles, "ebpf.owners",
			"the processes of connections older than ViewTCP are not known"))
		s.features = append(s.features,
			feature("ebpf.storage", nil, "knowledge of a connection is kept in its socket and handed to accepted ones", ""))
		if !s.cfg.Snapshot {
			for _, name := range hooks {
				s.features = append(s.features, s.probeHook(name))
			}
			s.features = append(s.features, s.probeRing())
		}
		s.features = append(s.features, s.probePIDs(), s.probeNamespaces())
	})
	return s.features
}

func feature(name string, err error, shows, without string) tcp.Feature {
	if err == nil {
		return tcp.Feature{Name: name, Available: true, Reason: shows}
	}
	f := tcp.Feature{Name: name, Reason: without + ": " + err.Error(), Remedy: remedyKernel}
	if errors.Is(err, tcp.ErrPermission) {
		f.Remedy = remedyRights
	}
	return f
}

// probeWalk runs a walk whose output nobody needs: it opens and reads nothing.
func (s *Source) probeWalk(program, name, without string) tcp.Feature {
	it := s.tcpIter
	if program == collectorProgWalkFiles {
		it = s.filesIter
	}
	if it == nil {
		return feature(name, s.missing[program], "", without)
	}
	r, err := it.Open()
	if err != nil {
		return feature(name, classify(err, "opening "+describe(program)), "", without)
	}
	err = r.Close()
	return feature(name, err, describe(program)+" was loaded and opened", without)
}

func (s *Source) probeHook(program string) tcp.Feature {
	f := hookFeatures[program]
	l, err := s.attach(program)
	if err == nil {
		err = l.Close()
	}
	return feature(f.name, err, describe(program)+" was loaded and attached", f.without)
}

func (s *Source) probeRing() tcp.Feature {
	r, err := ringbuf.NewReader(s.maps[collectorMapRing])
	if err == nil {
		err = r.Close()
	}
	return feature("ebpf.ring", err, fmt.Sprintf("a ring of %d KiB was mapped", s.cfg.RingBytes>>10),
		"no events can be read")
}

func (s *Source) probePIDs() tcp.Feature {
	f := tcp.Feature{Name: "ebpf.pids", Available: true}
	if s.rootPIDNS {
		f.Reason = "this is the first pid namespace: every process has its own number"
		return f
	}
	f.Available = false
	f.Reason = fmt.Sprintf("this is pid namespace %d: processes outside have a name, but no number here", s.pidNS)
	f.Remedy = "run in the pid namespace of the host (docker: --pid=host)"
	return f
}

func (s *Source) probeNamespaces() tcp.Feature {
	const name = "ebpf.namespaces"
	if s.cfg.Namespace != nil {
		return tcp.Feature{Name: name, Available: true, Reason: "one namespace was asked for"}
	}
	list, hidden, err := netns.List()
	if err != nil {
		return feature(name, err, "", "other network namespaces cannot be listed")
	}
	for _, ns := range list {
		if ns.Self {
			continue
		}
		if err := ns.Do(func() error { return nil }); errors.Is(err, tcp.ErrPermission) {
			return tcp.Feature{
				Name: name, Remedy: remedyEnter,
				Reason: "other network namespaces cannot be entered: only sockets that a visible process has open are shown there",
			}
		}
	}
	switch {
	case hidden > 0:
		return tcp.Feature{
			Name: name, Remedy: remedyRights,
			Reason: fmt.Sprintf("the network namespaces of %d processes are hidden", hidden),
		}
	case len(list) == 1 && !host.HasCapability(unix.CAP_SYS_ADMIN):
		return tcp.Feature{
			Name: name, Remedy: remedyEnter,
			Reason: "there is no other network namespace now; without CAP_SYS_ADMIN one could not be entered",
		}
	}
	return tcp.Feature{Name: name, Available: true, Reason: fmt.Sprintf("%d network namespaces can be walked", len(list))}
}
