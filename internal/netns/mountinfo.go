package netns

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// maxMountLine bounds one line of mountinfo: two paths and the mount's options,
// of which those of overlays are long.
const maxMountLine = 1 << 20

// readMounts calls add with every network namespace of a mountinfo file
// (proc_pid_mountinfo(5)) and where it is mounted.
func readMounts(r io.Reader, add func(inode uint32, path string)) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxMountLine)
	for sc.Scan() {
		// mount id, parent id, device, root, mount point, …
		fields := strings.Fields(sc.Text())
		if len(fields) < 5 {
			continue
		}
		if ino, ok := parseLink(fields[3]); ok {
			add(ino, unescape(fields[4]))
		}
	}
	return sc.Err()
}

// parseLink reads "net:[4026531840]".
func parseLink(s string) (uint32, bool) {
	s, ok := strings.CutPrefix(s, "net:[")
	if !ok {
		return 0, false
	}
	s, ok = strings.CutSuffix(s, "]")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
