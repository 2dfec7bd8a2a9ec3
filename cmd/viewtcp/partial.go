package main

import (
	"fmt"
	"strings"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Capabilities by number (include/uapi/linux/capability.h).
const (
	capDACReadSearch = 2
	capSysPtrace     = 19
	capSysAdmin      = 21
)

// partial says in one line what of the host this process cannot see and how to
// get it; it is empty when nothing is hidden. A source that knows better which
// sockets it left out says so in incomplete.
func partial(source tcp.SourceKind, spaces string, fell []string, incomplete string) string {
	var parts []string
	// The eBPF source asks the kernel, not /proc, who holds a socket.
	v, err := procfs.Look(procfs.DefaultConfig())
	if err == nil && !v.Complete() && (source != tcp.SourceEBPF || !v.Initial) {
		parts = append(parts, v.Warning())
	}
	hidden := (spaces == "" || spaces == "all") && !host.HasCapability(capSysAdmin)
	switch {
	case incomplete != "" && hidden:
		parts = append(parts, incomplete+": other namespaces need root or CAP_SYS_PTRACE and CAP_SYS_ADMIN")
	case incomplete != "":
		parts = append(parts, incomplete)
	case hidden:
		list, hidden, err := netns.List()
		switch {
		case err != nil:
			parts = append(parts, err.Error())
		case len(list) > 1:
			parts = append(parts, fmt.Sprintf("%d other network namespaces may not be entered: that needs root or CAP_SYS_ADMIN", len(list)-1))
		case hidden > 0:
			parts = append(parts, "other network namespaces, if there are any, are hidden: run as root or with CAP_SYS_PTRACE and CAP_SYS_ADMIN")
		}
	}
	switch {
	case source == tcp.SourceProcfs:
		parts = append(parts, "source procfs knows neither bytes nor round-trip times nor short connections")
	case source == tcp.SourceNetlink && len(fell) > 0:
		parts = append(parts, "without eBPF, short connections have no process: run as root or with CAP_BPF and CAP_PERFMON")
	}
	if len(parts) == 0 {
		return ""
	}
	return "partial view: " + strings.Join(parts, "; ") + " (viewtcp doctor explains)"
}
