package analysis

import "bytes"

const (
	// methodMax is longer than any registered method (RFC 9110, section 9).
	methodMax = 32
	http1     = "HTTP/1."
	preface2  = "PRI * HTTP/2.0\r\n" // RFC 9113, section 3.4: has no name
)

// parseHTTPHost looks for the host of an HTTP/1 request at the start of b (RFC
// 9112, section 3.2): that of an absolute target or of CONNECT, else the field
// Host. want is greater than len(b) when the request goes on and may still tell.
// host is part of b.
func parseHTTPHost(b []byte) (host []byte, want int) {
	more := len(b) + 1
	start := 0
	// Empty lines before a request are to be passed over (section 2.2).
	for start < len(b) && start < 4 && (b[start] == '\r' || b[start] == '\n') {
		start++
	}
	line, rest, whole := cutLine(b[start:])
	method := line[:min(len(line), methodMax+1)]
	if i := bytes.IndexByte(method, ' '); i >= 0 {
		method = method[:i]
	} else if whole || len(method) > methodMax {
		return nil, 0
	}
	for _, c := range method {
		if !tokenByte(c) {
			return nil, 0
		}
	}
	if !whole {
		return nil, more
	}
	if len(method) == 0 || bytes.HasPrefix(b[start:], []byte(preface2)) {
		return nil, 0
	}
	target, version, ok := cutLast(line[len(method)+1:])
	if !ok || len(version) != len(http1)+1 || string(version[:len(http1)]) != http1 {
		return nil, 0
	}
	if host = authority(string(method) == "CONNECT", bytes.TrimLeft(target, " ")); len(host) > 0 {
		return host, 0
	}
	for {
		line, rest, whole = cutLine(rest)
		if !whole {
			return nil, more
		}
		if len(line) == 0 {
			return nil, 0
		}
		name, value, found := bytes.Cut(line, []byte{':'})
		if found && len(name) == 4 && bytes.EqualFold(name, []byte("host")) {
			return bytes.Trim(value, " \t"), 0
		}
	}
}

// authority is the host of a target in absolute form, or, for CONNECT, in
// authority form; without what belongs to a user.
func authority(connect bool, target []byte) []byte {
	if !connect {
		scheme, after, found := bytes.Cut(target, []byte("://"))
		if !found || len(scheme) == 0 || bytes.ContainsAny(scheme, "/?#") {
			return nil
		}
		target = after
		if i := bytes.IndexAny(target, "/?#"); i >= 0 {
			target = target[:i]
		}
	}
	return target[bytes.LastIndexByte(target, '@')+1:]
}

// cutLine takes a line off, which ends with LF or CRLF (RFC 9112, section 2.2).
// whole is false when its end is missing.
func cutLine(b []byte) (line, rest []byte, whole bool) {
	line, rest, whole = bytes.Cut(b, []byte{'\n'})
	if whole && len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	return line, rest, whole
}

// cutLast cuts at the last space.
func cutLast(b []byte) (before, after []byte, found bool) {
	i := bytes.LastIndexByte(b, ' ')
	if i < 0 {
		return nil, nil, false
	}
	return b[:i], b[i+1:], true
}

// tokenByte reports whether c may stand in a token (RFC 9110, section 5.6.2).
func tokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}
