package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/procfs"
)

// group is a control group made for one command; the zero group is none.
type group struct {
	// id is the inode number of its directory, which its sockets carry.
	id   uint64
	path string
	dir  *os.File
}

// newGroup makes a control group below the own one in the unified hierarchy and
// lets cmd start in it.
func newGroup(cmd *exec.Cmd) (group, error) {
	parent, err := unifiedGroup()
	if err != nil {
		return group{}, err
	}
	path := filepath.Join(parent, "viewtcp-run-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(path, 0o755); err != nil {
		return group{}, err
	}
	g := group{path: path}
	if g.dir, err = os.Open(path); err != nil {
		return group{}, errors.Join(err, os.Remove(path))
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(g.dir.Fd()), &st); err != nil {
		return group{}, errors.Join(err, g.close())
	}
	g.id = st.Ino
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.dir.Fd())}
	return g, nil
}

// unifiedGroup finds the directory of the own cgroup v2 (cgroups(7)).
func unifiedGroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	root := ""
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 {
			root = fields[4]
			break
		}
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(line, "0::"); ok && root != "" {
			return filepath.Join(root, strings.TrimSpace(path)), nil
		}
	}
	return "", errors.New("no unified control group hierarchy is mounted")
}

// close removes the group. Processes that outlive the command go on in the group
// that it was started from.
func (g *group) close() error {
	if g.dir == nil {
		return nil
	}
	_ = g.dir.Close()
	g.dir = nil
	var err error
	for try := range 20 {
		if err = os.Remove(g.path); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if try > 2 { // an exiting process leaves its group a moment after its end
			g.empty()
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("removing the command's control group: %w", err)
}

// empty moves the processes of the group to its parent. One that cannot be moved
// has ended, or keeps the group from being removed, which close tells of.
func (g *group) empty() {
	pids, err := os.ReadFile(filepath.Join(g.path, "cgroup.procs"))
	if err != nil {
		return
	}
	for pid := range strings.FieldsSeq(string(pids)) {
		_ = os.WriteFile(filepath.Join(filepath.Dir(g.path), "cgroup.procs"), []byte(pid), 0)
	}
}

// parentIn reports whether pid descends from one of the known processes.
func parentIn(known map[int32]bool, pid int32) bool {
	for range 64 {
		if pid <= 1 {
			return false
		}
		if known[pid] {
			return true
		}
		parent, err := procfs.Parent(pid)
		if err != nil {
			return false
		}
		pid = parent
	}
	return false
}
