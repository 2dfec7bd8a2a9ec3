package usage

import (
	"bytes"
	"errors"
	"math"
	"strconv"
)

// tick is one unit of USER_HZ in microseconds; the kernel shows all times of
// /proc in it, whatever its own HZ is.
const tick = 10_000

var errFormat = errors.New("malformed")

// cpuTimes is the first line of /proc/stat (proc_stat(5)), microseconds.
type cpuTimes struct {
	user, system, iowait, steal uint64
	cpus                        uint64
}

// parseStat reads /proc/stat. A field that an old kernel does not have is 0.
func parseStat(b []byte) (t cpuTimes, err error) {
	line, rest, _ := bytes.Cut(b, []byte{'\n'})
	fields := bytes.Fields(line)
	if len(fields) < 5 || string(fields[0]) != "cpu" {
		return t, errFormat
	}
	var v [8]uint64 // user nice system idle iowait irq softirq steal
	for i := range min(len(v), len(fields)-1) {
		n, ok := number(fields[i+1])
		if !ok || n > math.MaxUint64/(4*tick) {
			return t, errFormat
		}
		v[i] = n * tick
	}
	t = cpuTimes{user: v[0] + v[1], system: v[2] + v[5] + v[6], iowait: v[4], steal: v[7]}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte{'\n'})
		if !bytes.HasPrefix(line, []byte("cpu")) {
			break
		}
		t.cpus++
	}
	return t, nil
}

// processStat is what of /proc/PID/stat (proc_pid_stat(5)) tells of usage.
type processStat struct {
	comm    string
	state   byte
	kthread bool
	// user and system are microseconds of CPU time; start is in nanoseconds of
	// the boot clock, as tcp.Owner.Start.
	user, system, start uint64
	threads, rss        uint64 // rss in pages
}

// pfKthread is PF_KTHREAD of include/linux/sched.h.
const pfKthread = 0x00200000

// parseProcess reads a line whose name may hold any byte. The name ends at the
// last closing parenthesis; only numbers and one letter follow.
func parseProcess(b []byte) (s processStat, err error) {
	open, closing := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || closing < open {
		return s, errFormat
	}
	name := b[open+1 : closing]
	rest := b[closing+1:]
	for field := 3; field <= 24; field++ {
		for len(rest) > 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
		end := bytes.IndexByte(rest, ' ')
		if end < 0 {
			end = len(bytes.TrimRight(rest, "\n"))
		}
		if end == 0 {
			return s, errFormat
		}
		word := rest[:end]
		rest = rest[end:]
		if field == 3 {
			s.state = word[0]
			continue
		}
		var at *uint64
		scale := uint64(1)
		var flags uint64
		switch field {
		case 9:
			at = &flags
		case 14:
			at, scale = &s.user, tick
		case 15:
			at, scale = &s.system, tick
		case 20:
			at = &s.threads
		case 22:
			at, scale = &s.start, tick*1000
		case 24:
			at = &s.rss
		default:
			continue
		}
		n, ok := number(word)
		if !ok || n > math.MaxUint64/scale {
			return s, errFormat
		}
		*at = n * scale
		if field == 9 {
			s.kthread = flags&pfKthread != 0
		}
	}
	s.comm = string(name)
	return s, nil
}

// eachPair calls fn for each line of "Name: 123 unit", as in /proc/meminfo and
// /proc/PID/io.
func eachPair(b []byte, fn func(name []byte, value uint64)) {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok {
			continue
		}
		value = bytes.TrimLeft(value, " \t")
		if end := bytes.IndexByte(value, ' '); end >= 0 {
			value = value[:end]
		}
		if n, ok := number(value); ok {
			fn(name, n)
		}
	}
}

// word cuts the first word off b.
func word(b []byte) (first, rest []byte) {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	end := bytes.IndexAny(b, " \t\n")
	if end < 0 {
		end = len(b)
	}
	return b[:end], b[end:]
}

// parsePressure reads a file of /proc/pressure or of a control group
// (Documentation/accounting/psi.rst): how long tasks stood still, microseconds.
// full is absent for the CPU of old kernels.
func parsePressure(b []byte) (some, full uint64, hasFull bool, err error) {
	hasSome := false
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		_, total, ok := bytes.Cut(line, []byte("total="))
		if !ok {
			continue
		}
		n, ok := number(total)
		if !ok {
			return 0, 0, false, errFormat
		}
		switch {
		case bytes.HasPrefix(line, []byte("some ")):
			some, hasSome = n, true
		case bytes.HasPrefix(line, []byte("full ")):
			full, hasFull = n, true
		}
	}
	if !hasSome {
		return 0, 0, false, errFormat
	}
	return some, full, hasFull, nil
}

// sockstat is what /proc/net/sockstat says of TCP. The memory is in pages and of
// the whole host, like the orphans.
type sockstat struct{ inUse, orphans, timeWait, memory uint64 }

// parseSockstat reads the line of a protocol ("TCP:" or "TCP6:").
func parseSockstat(b []byte, protocol string) (s sockstat, ok bool) {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		name, rest := word(line)
		if string(name) != protocol {
			continue
		}
		for {
			var key, value []byte
			key, rest = word(rest)
			value, rest = word(rest)
			n, isNumber := number(value)
			if !isNumber {
				return s, ok
			}
			ok = true
			switch string(key) {
			case "inuse":
				s.inUse = n
			case "orphan":
				s.orphans = n
			case "tw":
				s.timeWait = n
			case "mem":
				s.memory = n
			}
		}
	}
	return s, false
}

// parseDisks calls fn for each line of /proc/diskstats
// (Documentation/admin-guide/iostats.rst): bytes and busy microseconds.
func parseDisks(b []byte, fn func(name []byte, read, written, busy uint64)) error {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		var fields [13][]byte
		n := 0
		for n < len(fields) {
			var f []byte
			if f, line = word(line); len(f) == 0 {
				break
			}
			fields[n] = f
			n++
		}
		if n == 0 {
			continue
		}
		if n < len(fields) {
			return errFormat
		}
		const sector = 512 // whatever the disk's own is
		read, ok1 := number(fields[5])
		written, ok2 := number(fields[9])
		busy, ok3 := number(fields[12]) // milliseconds
		if !ok1 || !ok2 || !ok3 || max(read, written) > math.MaxUint64/sector || busy > math.MaxUint64/1000 {
			return errFormat
		}
		fn(fields[2], read*sector, written*sector, busy*1000)
	}
	return nil
}

// parseNumbers reads the numbers of a file that has nothing else.
func parseNumbers(b []byte) (ns []uint64, err error) {
	for {
		var w []byte
		b = bytes.TrimLeft(b, "\n")
		if w, b = word(b); len(w) == 0 {
			return ns, nil
		}
		n, ok := number(w)
		if !ok {
			return nil, errFormat
		}
		ns = append(ns, n)
	}
}

// parseLoad reads the load average of the last minute, in thousandths.
func parseLoad(b []byte) (uint64, error) {
	w, _ := word(b)
	f, err := strconv.ParseFloat(string(w), 64)
	if err != nil || f < 0 || f > 1e9 || math.IsNaN(f) {
		return 0, errFormat
	}
	return uint64(math.Round(f * 1000)), nil
}

// cgroupPath finds the path in the unified hierarchy in /proc/PID/cgroup
// (cgroups(7)).
func cgroupPath(b []byte) (string, bool) {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		if path, ok := bytes.CutPrefix(line, []byte("0::")); ok {
			return string(path), len(path) > 0 && path[0] == '/'
		}
	}
	return "", false
}

// number reads decimal digits and nothing else.
func number(b []byte) (n uint64, ok bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
