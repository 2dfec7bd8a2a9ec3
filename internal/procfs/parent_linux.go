package procfs

import (
	"fmt"
	"os"
)

// Parent returns the parent of a process as /proc/PID/stat has it: 0 for one
// that the kernel started, or that came from outside the pid namespace. The
// error wraps os.ErrNotExist when there is no such process (any more).
func Parent(pid int32) (int32, error) {
	name := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	s, err := parseStat(b)
	if err != nil {
		return 0, fmt.Errorf("parsing %q: %w", name, err)
	}
	return s.parent, nil
}
