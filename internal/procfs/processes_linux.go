package procfs

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

var (
	nameExe     = []byte("exe\x00")
	nameCmdline = []byte("cmdline\x00")
	nameStatus  = []byte("status\x00")
	nameCgroup  = []byte("cgroup\x00")
)

// read reads the details of a process. It fails when the process has ended or
// another one has its number. What rights forbid to read is left empty.
//
// All is read through one descriptor of the process's directory, so the parts
// belong together; only an exec can come between them.
func (p *Processes) read(o tcp.Owner) (*tcp.Process, error) {
	path := p.cfg.Root + "/" + strconv.Itoa(int(o.PID))
	dir, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		if denied(err) {
			return bare(o), nil
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(dir)
	if p.buf == nil {
		p.buf = make([]byte, readCmdline)
	}
	n, err := readAt(dir, nameStat, p.buf)
	if err != nil {
		if denied(err) {
			return bare(o), nil
		}
		return nil, fmt.Errorf("reading %s/stat: %w", path, err)
	}
	s, err := parseStat(p.buf[:n])
	if err != nil {
		return nil, fmt.Errorf("reading %s/stat: %w", path, err)
	}
	if o.Start != 0 && s.start != o.Start {
		return nil, fmt.Errorf("process %d is another one now: %w", o.PID, os.ErrNotExist)
	}
	process := &tcp.Process{
		ProcessID: tcp.ProcessID{PID: o.PID, Start: o.Start},
		Name:      s.comm.String(),
		Parent:    s.parent,
	}
	if n, err := readAt(dir, nameStatus, p.buf); err == nil {
		process.UID, process.HasUID = parseUID(p.buf[:n])
	}
	if n, err := readAt(dir, nameCmdline, p.buf); err == nil {
		process.Cmdline = commandLine(p.buf[:n], n == len(p.buf))
	}
	if n, err := readAt(dir, nameCgroup, p.buf); err == nil {
		place := parseCgroup(string(p.buf[:n]))
		// Cloned, so as not to keep the whole file.
		process.Cgroup = strings.Clone(place.path[:min(len(place.path), maxCgroup)])
		process.Container, process.Unit = strings.Clone(place.container), strings.Clone(place.unit)
	}
	if n, err := readlinkat(dir, nameExe, p.buf[:maxExe]); err == nil {
		process.Exe = program(string(p.buf[:n]))
	}
	return process, nil
}

// program turns the link of an executable into the path that a user knows. The
// kernel adds " (deleted)" when the file was replaced, as by an upgrade; a
// program without a file of its own (memfd) keeps the mark.
func program(link string) string {
	if path, ok := strings.CutSuffix(link, " (deleted)"); ok && !strings.HasPrefix(link, "/memfd:") {
		return path
	}
	return link
}
