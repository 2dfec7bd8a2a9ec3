package procfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// row is one line of /proc/net/tcp or tcp6 (get_tcp4_sock, get_openreq4 and
// get_timewait4_sock of net/ipv4/tcp_ipv4.c, and their IPv6 twins). What the
// kernel fills in for want of a value is marked as missing.
type row struct {
	tcp.Tuple
	// netns is not in the line; the reader of the table sets it.
	netns uint32
	// inode is 0 for sockets without a file: request sockets, TIME_WAIT,
	// orphans, and connections that wait for accept.
	inode uint32
	uid   uint32
	// tx and rx are bytes: written and unacknowledged, received and unread. On
	// a listener rx is the connections waiting for accept.
	tx, rx         uint32
	cwnd, ssthresh uint32
	state          tcp.State
	// ipv6 says that the line comes from tcp6.
	ipv6 bool
	// full says that the line is of a full socket and so has the five columns
	// that end in cwnd and ssthresh.
	full bool
	// hasSSThresh is false while the socket is in its initial slow start, for
	// which the kernel prints -1.
	hasSSThresh bool
}

// mini reports whether the row is of a socket without a tcp_sock.
func (r *row) mini() bool {
	return r.state == tcp.TimeWait || !r.full && (r.state == tcp.SynRecv || r.state == tcp.FinWait2)
}

// bigEndian is the order of this machine, in which the kernel prints the words
// of an address.
var bigEndian = binary.NativeEndian.Uint16([]byte{0, 1}) == 1

// table parses one of the two files, in pieces as they are read.
type table struct {
	ipv6, bigEndian bool
	// line counts the lines so far, the heading included.
	line int
	// bad counts lines that were skipped, and err is about the first of them.
	bad int
	err error
	// cut says that the input ended inside a line.
	cut bool
}

// append parses the whole lines of data, appends their rows to dst and returns
// what follows the last newline, to be given again with more data. With last
// set nothing follows: an unfinished line is used if it is whole, and else
// recorded as cut.
func (t *table) append(dst []row, data []byte, last bool) (_ []row, rest []byte) {
	for {
		line, after, whole := bytes.Cut(data, newline)
		if !whole && (!last || len(data) == 0) {
			return dst, data
		}
		data = after
		t.line++
		if t.line == 1 { // the heading
			if !bytes.Contains(line, []byte("local_address")) {
				t.fail(1, "a heading with local_address")
			}
		} else {
			n := len(dst)
			dst = append(dst, row{})
			col, want := dst[n].parse(line, t.ipv6, t.bigEndian)
			if want != "" {
				dst = dst[:n]
				if whole {
					t.fail(col, want)
				} else {
					t.cut = true
				}
			}
		}
		if !whole {
			return dst, nil
		}
	}
}

var newline = []byte{'\n'}

func (t *table) fail(col int, want string) {
	t.bad++
	if t.err == nil {
		t.err = fmt.Errorf("line %d, column %d: expected %s", t.line, col, want)
	}
}

// parse reads one line. When it is malformed, want says what was expected at
// the 1-based column col.
func (r *row) parse(line []byte, ipv6, bigEndian bool) (col int, want string) {
	c := cursor{b: line}
	c.spaces()
	c.decimal()
	c.byte(':')
	c.spaces()
	r.ipv6 = ipv6
	c.end(&r.Local, &r.LocalPort, ipv6, bigEndian)
	c.space()
	c.end(&r.Remote, &r.RemotePort, ipv6, bigEndian)
	c.space()
	state := c.hex(2)
	c.space()
	r.tx = c.hex(8)
	c.byte(':')
	r.rx = c.hex(8)
	c.space()
	// Timer, its expiry, and the retransmissions of the segment it is for: the
	// last is no total and goes back to 0 with each ACK, so it is not kept.
	c.hex(2)
	c.byte(':')
	c.hexAny()
	c.space()
	c.hexAny()
	c.space()
	uid := c.decimal()
	c.space()
	c.decimal() // unanswered zero window probes
	c.space()
	inode := c.decimal()
	c.space()
	c.decimal() // reference count
	c.space()
	c.token() // the kernel's address of the socket, hidden
	if c.want != "" {
		return c.i + 1, c.want
	}
	r.state = tcp.KernelState(uint8(state))
	if r.state == tcp.StateUnknown {
		return bytes.IndexByte(line, ':') + 1, "a TCP state"
	}
	r.uid = uint32(min(uid, math.MaxUint32))
	if inode <= math.MaxUint32 {
		r.inode = uint32(inode)
	}
	c.spaces()
	if c.i == len(line) {
		return 0, ""
	}
	// The RTO, cut to ticks of 10 ms (USER_HZ): 200 for 204 would be wrong.
	c.decimal()
	c.space()
	c.decimal() // delayed ACK timeout
	c.space()
	c.decimal() // quick ACKs and pingpong mode
	c.space()
	cwnd := c.decimal()
	c.space()
	negative := c.sign()
	ssthresh := c.decimal()
	if c.want != "" {
		return c.i + 1, c.want
	}
	r.full = true
	r.cwnd = uint32(min(cwnd, math.MaxUint32))
	if !negative {
		r.ssthresh = uint32(min(ssthresh, math.MaxUint32))
		r.hasSSThresh = true
	}
	return 0, ""
}

// cursor reads a line from left to right. After the first mismatch it stays
// where it was, and want says what should have been there.
type cursor struct {
	b    []byte
	i    int
	want string
}

func (c *cursor) byte(ch byte) {
	switch {
	case c.want != "":
	case c.i < len(c.b) && c.b[c.i] == ch:
		c.i++
	case ch == ':':
		c.want = "a colon"
	default:
		c.want = "a blank"
	}
}

// space skips one blank or more.
func (c *cursor) space() {
	c.byte(' ')
	c.spaces()
}

// spaces skips blanks, if there are any.
func (c *cursor) spaces() {
	for c.want == "" && c.i < len(c.b) && c.b[c.i] == ' ' {
		c.i++
	}
}

func (c *cursor) sign() (negative bool) {
	if c.want == "" && c.i < len(c.b) && c.b[c.i] == '-' {
		c.i++
		return true
	}
	return false
}

// hex reads exactly n digits, at most eight.
func (c *cursor) hex(n int) (v uint32) {
	if c.want != "" {
		return 0
	}
	digits := c.b[c.i:min(c.i+n, len(c.b))]
	for i, ch := range digits {
		d := hexDigits[ch]
		if d == 0 {
			digits = digits[:i]
			break
		}
		v = v<<4 | uint32(d-1)
	}
	c.i += len(digits)
	if len(digits) < n {
		c.want = "a hexadecimal digit"
		return 0
	}
	return v
}

// hexAny skips one hexadecimal digit or more.
func (c *cursor) hexAny() {
	if c.want != "" {
		return
	}
	start := c.i
	for c.i < len(c.b) && hexDigits[c.b[c.i]] != 0 {
		c.i++
	}
	if c.i == start {
		c.want = "a hexadecimal digit"
	}
}

// hexDigits has the value of each hexadecimal digit plus one, and 0 for all
// other characters.
var hexDigits = [256]uint8{
	'0': 1, '1': 2, '2': 3, '3': 4, '4': 5, '5': 6, '6': 7, '7': 8, '8': 9, '9': 10,
	'A': 11, 'B': 12, 'C': 13, 'D': 14, 'E': 15, 'F': 16,
	'a': 11, 'b': 12, 'c': 13, 'd': 14, 'e': 15, 'f': 16,
}

// decimal reads a number without sign; one above 64 bits is a mismatch.
func (c *cursor) decimal() (v uint64) {
	if c.want != "" {
		return 0
	}
	start := c.i
	for ; c.i < len(c.b); c.i++ {
		d := uint64(c.b[c.i] - '0')
		if d > 9 {
			break
		}
		if c.i-start >= 19 && v > (math.MaxUint64-d)/10 {
			c.want = "a number of at most 64 bits"
			return 0
		}
		v = v*10 + d
	}
	if c.i == start {
		c.want = "a decimal digit"
	}
	return v
}

// token skips up to the next blank.
func (c *cursor) token() {
	if c.want != "" {
		return
	}
	start := c.i
	for c.i < len(c.b) && c.b[c.i] != ' ' {
		c.i++
	}
	if c.i == start {
		c.want = "a value"
	}
}

// end reads ADDRESS:PORT. The address is in words of 32 bits, each in network
// order in memory but printed as a number of the machine.
func (c *cursor) end(a *tcp.Addr, port *uint16, ipv6, bigEndian bool) {
	first := 0
	if !ipv6 {
		*a = tcp.AddrFrom4([4]byte{})
		first = 12
	}
	for i := first; i < len(a); i += 4 {
		w := c.hex(8)
		if bigEndian {
			binary.BigEndian.PutUint32(a[i:], w)
		} else {
			binary.LittleEndian.PutUint32(a[i:], w)
		}
	}
	c.byte(':')
	*port = uint16(c.hex(4))
}
