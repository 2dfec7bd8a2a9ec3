package procfs

import (
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Visibility is what /proc shows to this process, and what it hides.
type Visibility struct {
	// HidePID is the value of the hidepid option of the proc mount where it
	// hides something from this process: noaccess, invisible or ptraceable
	// (proc(5)); empty otherwise.
	HidePID string
	// OnlyPIDs says that the mount has subset=pid, and so no /proc/net.
	OnlyPIDs bool
	// Processes is the number of processes listed, this one included and kernel
	// threads not. Hidden is how many of them have descriptors that may not be read.
	Processes, Hidden int
	// SysPtrace and DACReadSearch say that this process has the capability.
	SysPtrace, DACReadSearch bool
	// PIDNamespace is the inode number of this process's pid namespace, 0 when
	// unknown. Initial says that it is the first one, which sees every process.
	PIDNamespace uint32
	Initial      bool
}

// Complete reports whether the process of every socket can be found.
func (v Visibility) Complete() bool {
	return v.Hidden == 0 && v.Initial && (v.HidePID == "" || v.SysPtrace)
}

// Warning says in one sentence what is hidden and how to get it; it is empty
// when nothing is.
func (v Visibility) Warning() string {
	var parts []string
	switch {
	case v.HidePID != "" && !v.SysPtrace:
		parts = append(parts, "proc is mounted with hidepid="+v.HidePID+
			", so processes of other users are hidden: run as root, with CAP_SYS_PTRACE or in the group of the mount's gid option")
	case v.Hidden > 0:
		parts = append(parts, "the sockets of "+strconv.Itoa(v.Hidden)+" of "+count(v.Processes, "process", "processes")+
			" may not be read, so some connections have no process: run as root or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH")
	}
	if !v.Initial && v.PIDNamespace != 0 {
		parts = append(parts, "this is a pid namespace of its own, so processes outside of it are hidden: run in the host's (--pid=host)")
	}
	return strings.Join(parts, "; ")
}

// Feature tells doctor whether the processes of sockets can be found here.
func (v Visibility) Feature() tcp.Feature {
	f := tcp.Feature{Name: "procfs.processes", Available: true}
	if v.Complete() {
		f.Reason = "the descriptors of all processes (" + strconv.Itoa(v.Processes) + ") can be read"
		return f
	}
	f.Available = v.Processes > v.Hidden
	f.Reason, f.Remedy = splitRemedy(v.Warning())
	return f
}

// count prints a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// splitRemedy takes the warnings apart into what is wrong and what helps.
func splitRemedy(warning string) (reason, remedy string) {
	var reasons, remedies []string
	for part := range strings.SplitSeq(warning, "; ") {
		r, m, _ := strings.Cut(part, ": ")
		reasons = append(reasons, r)
		if m != "" {
			remedies = append(remedies, m)
		}
	}
	return strings.Join(reasons, "; "), strings.Join(remedies, "; ")
}

// procMount finds the options of the proc file system mounted last at a place,
// in the text of a mountinfo file (proc_pid_mountinfo(5)).
func procMount(mountinfo, at string) (options string, ok bool) {
	for line := range strings.Lines(mountinfo) {
		before, after, found := strings.Cut(line, " - ")
		if !found {
			continue
		}
		mount, super := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(super) < 3 || mount[4] != at {
			continue
		}
		// A later line hides an earlier one at the same place.
		options, ok = super[2], super[0] == "proc"
	}
	return options, ok
}

// procOptions reads the options of a proc mount (Documentation/filesystems/proc.rst):
// hidepid as its word, whatever way it is written, the group it does not apply
// to (-1 for none), and subset=pid.
func procOptions(options string) (hidepid string, gid int, onlyPIDs bool) {
	gid = -1
	for option := range strings.SplitSeq(options, ",") {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "hidepid":
			switch value {
			case "0", "off":
				hidepid = ""
			case "1", "noaccess":
				hidepid = "noaccess"
			case "2", "invisible":
				hidepid = "invisible"
			case "4", "ptraceable":
				hidepid = "ptraceable"
			default:
				hidepid = value
			}
		case "gid":
			if n, err := strconv.Atoi(value); err == nil {
				gid = n
			}
		case "subset":
			onlyPIDs = value == "pid"
		}
	}
	return hidepid, gid, onlyPIDs
}
