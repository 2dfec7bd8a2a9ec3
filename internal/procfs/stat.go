package procfs

import (
	"bytes"
	"errors"
	"math"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// stat is what ViewTCP needs of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	pid, parent int32
	comm        tcp.Comm
	state       byte
	flags       uint64
	// start is in nanoseconds, as tcp.Owner.Start.
	start uint64
}

// pfKthread is the flag of kernel threads (PF_KTHREAD of include/linux/sched.h).
const pfKthread = 0x00200000

// alive reports whether the process can hold sockets: a zombie has closed its
// own, and kernel threads have no descriptors.
func (s *stat) alive() bool { return s.flags&pfKthread == 0 && s.state != 'Z' && s.state != 'X' }

var errStat = errors.New("malformed process status")

// parseStat reads one line. The name may hold any byte, parentheses, blanks and
// newlines included; after it come only numbers and one letter, so it ends at
// the last closing parenthesis.
func parseStat(b []byte) (s stat, err error) {
	open, closing := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 2 || closing < open || b[open-1] != ' ' {
		return stat{}, errStat
	}
	c := cursor{b: b[:open-1]}
	pid := c.decimal()
	if c.want != "" || c.i != len(c.b) || pid == 0 || pid > math.MaxInt32 {
		return stat{}, errStat
	}
	s.pid = int32(pid)
	copy(s.comm[:len(s.comm)-1], b[open+1:closing])

	c = cursor{b: bytes.TrimSuffix(b[closing+1:], []byte{'\n'})}
	// The numbers are those of the manual page, where the name is field 2.
	for field := 3; field <= 22 && c.want == ""; field++ {
		c.byte(' ')
		switch field {
		case 3:
			if c.i < len(c.b) {
				s.state = c.b[c.i]
			}
			c.token()
		case 4:
			// 0 for what was started by the kernel or from outside the namespace.
			s.parent = int32(min(c.decimal(), math.MaxInt32))
		case 9:
			s.flags = c.decimal()
		case 22:
			ticks := c.decimal()
			if ticks > math.MaxUint64/tcp.StartGranularity {
				return stat{}, errStat
			}
			s.start = ticks * tcp.StartGranularity
		default:
			c.sign()
			c.decimal()
		}
	}
	if c.want != "" {
		return stat{}, errStat
	}
	return s, nil
}

// parseUID reads the real user id out of /proc/PID/status (proc_pid_status(5)).
// The name comes first there, but with its newlines escaped.
func parseUID(b []byte) (uid uint32, ok bool) {
	const key = "\nUid:"
	at := bytes.Index(b, []byte(key))
	if at < 0 {
		return 0, false
	}
	c := cursor{b: b, i: at + len(key)}
	for c.i < len(b) && (b[c.i] == '\t' || b[c.i] == ' ') {
		c.i++
	}
	v := c.decimal()
	if c.want != "" || v > math.MaxUint32 {
		return 0, false
	}
	return uint32(v), true
}
