package analysis

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A script is a conversation in text, a segment a line:
//
//	TIME DIR FLAGS SEQ[:LEN] [KEY VALUE]… [; EXPECTATION…]
//
// TIME is milliseconds since the start. DIR is ">" for what the client sends and
// "<" for what the server sends. FLAGS are letters of S F R P A U E C, or "." for
// A. SEQ counts from the sender's initial number, and so does ack from the
// other's. The keys:
//
//	ack N   win N   mss N   ws N   sack L-R[,L-R…]   ts VAL   id N   ce   port N   icmp   cut
//
// port is the client's. An expectation is names of flags joined by "+" (or
// "none"), or one of v=VERDICT why=REASON stream=N dup=N rtt=MS rto=MS flight=N
// window=N from=initiator|responder. Flags that are not expected are not
// compared when there is no expectation of flags.
type script struct {
	t      *testing.T
	a      *Analyzer
	client uint32 // the initial numbers
	server uint32
	conn   *Conn
	p      Packet
	line   string
	number uint64
}

// numbers are the initial sequence numbers that each script is run with: plain
// ones, and ones that wrap around within the first bytes.
var numbers = []struct{ client, server uint32 }{{1000, 5000}, {1<<32 - 300, 1<<32 - 77}, {1<<31 - 50, 1 << 31}}

// play runs a script with each of the initial numbers.
func play(t *testing.T, cfg Config, text string, check func(t *testing.T, a *Analyzer, c *Conn)) {
	t.Helper()
	for _, n := range numbers {
		x := &script{t: t, a: New(cfg), client: n.client, server: n.server}
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			x.line = line
			x.play()
		}
		if check != nil {
			check(t, x.a, x.conn)
		}
		if t.Failed() {
			t.Fatalf("with initial numbers %d and %d", n.client, n.server)
		}
	}
}

func (x *script) fatal(format string, args ...any) {
	x.t.Helper()
	x.t.Fatalf("%q: %s", x.line, fmt.Sprintf(format, args...))
}

func (x *script) num(s string) uint32 {
	x.t.Helper()
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		x.fatal("%v", err)
	}
	return uint32(n)
}

func (x *script) play() {
	x.t.Helper()
	text, want, _ := strings.Cut(x.line, ";")
	words := strings.Fields(text)
	if len(words) < 4 {
		x.fatal("too few words")
	}
	s := x.segment(words)
	x.a.Add(&s, &x.p)
	x.conn = x.p.Conn
	for w := range strings.FieldsSeq(want) {
		x.expect(w)
	}
}

func (x *script) segment(words []string) capture.Segment {
	x.t.Helper()
	at, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		x.fatal("%v", err)
	}
	x.number++
	s := capture.Segment{
		Time: 1_700_000_000_000_000_000 + int64(at*1e6), Number: x.number, Window: 1000, HeaderLen: 20,
		Tuple: tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{198, 51, 100, 7}),
			LocalPort: 40_000, RemotePort: 443,
		},
	}
	for _, letter := range words[2] {
		f, ok := map[rune]capture.Flags{
			'S': capture.SYN, 'F': capture.FIN, 'R': capture.RST, 'P': capture.PSH, 'A': capture.ACK, '.': capture.ACK,
			'U': capture.URG, 'E': capture.ECE, 'C': capture.CWR, '0': 0,
		}[letter]
		if !ok {
			x.fatal("flag %q", letter)
		}
		s.Flags |= f
	}
	mine, theirs := x.client, x.server
	if words[1] == "<" {
		mine, theirs = theirs, mine
	}
	seq, length, _ := strings.Cut(words[3], ":")
	s.Seq = mine + x.num(seq)
	if length != "" {
		s.Len = x.num(length)
	}
	s.WireLen = 54 + s.Len
	for i := 4; i < len(words); i++ {
		value := func() string {
			if i++; i >= len(words) {
				x.fatal("no value")
			}
			return words[i]
		}
		switch words[i] {
		case "ack":
			s.Ack = theirs + x.num(value())
		case "win":
			s.Window = uint16(x.num(value()))
		case "mss":
			s.Opts, s.MSS = s.Opts|capture.OptMSS, uint16(x.num(value()))
		case "ws":
			s.Opts, s.WScale = s.Opts|capture.OptWScale, uint8(x.num(value()))
		case "ts":
			s.Opts, s.TSVal = s.Opts|capture.OptTimestamps, x.num(value())
		case "id":
			s.Info, s.IPID = s.Info|capture.HasIPID, x.num(value())
		case "port":
			s.Tuple.LocalPort = uint16(x.num(value()))
		case "sack":
			s.Opts |= capture.OptSACK
			for block := range strings.SplitSeq(value(), ",") {
				l, r, _ := strings.Cut(block, "-")
				s.SACK[s.SACKLen] = capture.SACKBlock{Left: theirs + x.num(l), Right: theirs + x.num(r)}
				s.SACKLen++
			}
		case "ce":
			s.ECN = ecnCE
		case "icmp":
			s.Info |= capture.InICMP
		case "mptcp":
			s.Opts, s.MPTCP = s.Opts|capture.OptMPTCP, uint8(x.num(value()))
		case "fragment":
			s.Info |= capture.Fragment
		default:
			x.fatal("key %q", words[i])
		}
	}
	if words[1] == "<" {
		s.Tuple = s.Tuple.Reverse()
	}
	return s
}

func (x *script) expect(w string) {
	x.t.Helper()
	key, value, ok := strings.Cut(w, "=")
	got := ""
	switch {
	case !ok:
		value = key
		if got = strings.Join(x.p.Flags.AppendNames(nil), "+"); got == "" {
			got = "none"
		}
	case key == "v":
		got = x.p.Verdict.String()
	case key == "why":
		got = strings.ReplaceAll(x.p.Reason.String(), " ", "_")
	case key == "stream":
		got = strconv.Itoa(int(x.p.Stream))
	case key == "dup":
		got = strconv.Itoa(int(x.p.DupAckNumber))
	case key == "rtt":
		got = millis(x.p.AckRTT)
	case key == "rto":
		got = millis(x.p.RTO)
	case key == "flight":
		got = strconv.Itoa(int(x.p.BytesInFlight))
	case key == "window":
		got = strconv.Itoa(int(x.p.CalculatedWindow))
	case key == "seq":
		got = strconv.Itoa(int(int32(x.p.RelSeq)))
	case key == "from":
		got = originOf(1).String()
		if x.p.Initiator {
			got = originOf(0).String()
		}
	default:
		x.fatal("expectation %q", w)
	}
	if got != value {
		x.t.Errorf("%q: got %s", x.line, got)
	}
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/1e6, 'f', -1, 64)
}
