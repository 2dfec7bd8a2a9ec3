package procfs

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/host"
)

// Look finds out what /proc below cfg.Root shows to this process. It tries every
// process, which costs some ten microseconds each.
func Look(cfg Config) (Visibility, error) {
	cfg = cfg.withDefaults()
	v := Visibility{
		SysPtrace:     host.HasCapability(unix.CAP_SYS_PTRACE),
		DACReadSearch: host.HasCapability(unix.CAP_DAC_READ_SEARCH),
	}
	if ino, initial, err := host.PIDNamespace(); err == nil {
		v.PIDNamespace, v.Initial = ino, initial
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		if options, ok := procMount(string(b), cfg.Root); ok {
			hidepid, gid, onlyPIDs := procOptions(options)
			v.OnlyPIDs = onlyPIDs
			// ptraceable asks for the right to trace even of the group.
			if hidepid == "ptraceable" || !inGroup(gid) {
				v.HidePID = hidepid
			}
		}
	}
	if err := v.tryAll(cfg.Root); err != nil {
		return v, err
	}
	return v, nil
}

func inGroup(gid int) bool {
	if gid == os.Getegid() {
		return true
	}
	groups, err := os.Getgroups()
	return err == nil && slices.Contains(groups, gid)
}

// tryAll tries the descriptors of every process. Opening their directory takes
// one right and following them another (proc_fd_permission and
// proc_fd_access_allowed of fs/proc); the link of the working directory is
// guarded as theirs are, and always there.
func (v *Visibility) tryAll(path string) error {
	root, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("listing processes: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	defer unix.Close(root)
	var status, link [statSize]byte
	var name []byte
	err = eachNumber(root, make([]byte, 32<<10), func(pid []byte, _ uint32) bool {
		pid = pid[:len(pid)-1]
		name = append(append(name[:0], pid...), "/stat\x00"...)
		n, err := readAt(root, name, status[:])
		if err == nil {
			if s, err := parseStat(status[:n]); err != nil || !s.alive() {
				return true
			}
			name = append(append(name[:0], pid...), "/fd\x00"...)
			var fd int
			if fd, err = openat(root, name, unix.O_RDONLY|unix.O_DIRECTORY); err == nil {
				unix.Close(fd)
				name = append(append(name[:0], pid...), "/cwd\x00"...)
				_, err = readlinkat(root, name, link[:])
			}
		}
		switch {
		case err == nil:
			v.Processes++
		case denied(err):
			v.Processes++
			v.Hidden++
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	return nil
}
