package analysis

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestStates has the paths through the state machine of RFC 9293, with Zeek's
// view of each and Wireshark's completeness.
func TestStates(t *testing.T) {
	const (
		established = `
			0 > S 0
			10 < S. 0 ack 1
			20 > . 1 ack 1
			21 > P. 1:10 ack 1
			30 < P. 1:10 ack 11
		`
		none = tcp.StateUnknown
	)
	for _, tt := range []struct {
		name, text           string
		initiator, responder tcp.State
		ended                bool
		zeek, history        string
		completeness         uint8
		fin, rst             Origin
		reason               tcp.CloseReason // as the initiator sees it
	}{
		{"a SYN alone", `0 > S 0`, tcp.SynSent, none, false, "S0", "S", 1, 0, 0, 0},
		{"SYNs unanswered", `
			0 > S 0
			1000 > S 0
			3000 > S 0`, tcp.SynSent, none, false, "S0", "S", 1, 0, 0, 0},
		{"refused", `
			0 > S 0
			10 < R. 0 ack 1`, tcp.Closed, tcp.Closed, true, "REJ", "Sr", 37, 0, Responder, tcp.CloseRefused},
		{"a SYN and SYN-ACK", `
			0 > S 0
			10 < S. 0 ack 1`, tcp.SynSent, tcp.SynRecv, false, "S1", "Sh", 3, 0, 0, 0},
		{"a half-open scan", `
			0 > S 0
			10 < S. 0 ack 1
			11 > R 1`, tcp.Closed, tcp.Closed, true, "RSTO", "ShR", 35, 0, Initiator, tcp.CloseRSTSent},
		{"a SYN and a RST of the same end", `
			0 > S 0
			10 > R 1`, tcp.Closed, tcp.Closed, true, "RSTOS0", "SR", 33, 0, Initiator, tcp.CloseRSTSent},
		{"established", established, tcp.Established, tcp.Established, false, "S1", "ShADd", 15, 0, 0, 0},
		{"the initiator half closes", established + `
			40 > F. 11 ack 11
			50 < . 11 ack 12
			60 < P. 11:10 ack 12
			61 > . 12 ack 21`, tcp.FinWait2, tcp.CloseWait, false, "S2", "ShADdFa", 31, Initiator, 0, 0},
		{"a FIN not acknowledged", established + `
			40 < F. 11 ack 11`, tcp.Established, tcp.FinWait1, false, "S3", "ShADdf", 31, Responder, 0, 0},
		{"the initiator closes first", established + `
			40 > F. 11 ack 11
			50 < . 11 ack 12
			51 < F. 11 ack 12
			60 > . 12 ack 12`, tcp.TimeWait, tcp.Closed, true, "SF", "ShADdFaf", 31, Initiator, 0, tcp.CloseFIN},
		{"the responder closes first", established + `
			40 < F. 11 ack 11
			50 > F. 11 ack 12
			60 < . 12 ack 12`, tcp.Closed, tcp.TimeWait, true, "SF", "ShADdfFa", 31, Responder, 0, tcp.CloseFIN},
		{"both close at once", established + `
			40 > F. 11 ack 11
			40 < F. 11 ack 11
			50 > . 12 ack 12
			50 < . 12 ack 12`, tcp.TimeWait, tcp.TimeWait, true, "SF", "ShADdFfa", 31, Initiator, 0, tcp.CloseFIN},
		{"reset by the initiator", established + `
			40 > R. 11 ack 11`, tcp.Closed, tcp.Closed, true, "RSTO", "ShADdR", 47, 0, Initiator, tcp.CloseRSTSent},
		{"reset by the responder", established + `
			40 < R. 11 ack 11`, tcp.Closed, tcp.Closed, true, "RSTR", "ShADdr", 47, 0, Responder, tcp.CloseRSTReceived},
		{"reset after the end changes nothing", established + `
			40 > F. 11 ack 11
			50 < F. 11 ack 12
			60 > . 12 ack 12
			61 < R 12`, tcp.TimeWait, tcp.Closed, true, "SF", "ShADdFfr", 63, Initiator, Responder, tcp.CloseFIN},
		{"half closed, then reset", established + `
			40 > F. 11 ack 11
			50 < . 11 ack 12
			60 > R 12`, tcp.Closed, tcp.Closed, true, "RSTO", "ShADdFaR", 63, Initiator, Initiator, tcp.CloseRSTSent},
		{"simultaneous open", `
			0 > S 0
			1 < S 0
			10 > S. 0 ack 1
			11 < S. 0 ack 1
			20 > P. 1:10 ack 1`, tcp.Established, tcp.Established, false, "S1", "SsD", 11, 0, 0, 0},
		{"the SYN was not seen", `
			10 < S. 0 ack 1
			20 > . 1 ack 1
			21 > P. 1:10 ack 1
			30 < . 1 ack 11`, tcp.Established, tcp.Established, false, "S1", "^hADa", 14, 0, 0, 0},
		{"the SYN-ACK was not seen", `
			0 > S 0
			20 > . 1 ack 1
			21 > P. 1:10 ack 1
			30 < . 1 ack 11`, tcp.Established, tcp.Established, false, "S0", "SADa", 13, 0, 0, 0},
		{"the SYN comes after its answer", `
			10 < S. 0 ack 1
			11 > S 0
			20 > . 1 ack 1
			30 < P. 1:10 ack 1`, tcp.Established, tcp.Established, false, "S1", "^hSAd", 14, 0, 0, 0},
		{"from the middle", `
			0 > P. 100:10 ack 500
			10 < . 500 ack 110`, tcp.Established, tcp.Established, false, "OTH", "Da", 12, 0, 0, 0},
		{"from the middle to the end", `
			0 > P. 100:10 ack 500
			10 < F. 500 ack 110
			20 > F. 110 ack 501
			30 < . 501 ack 111`, tcp.Closed, tcp.TimeWait, true, "SF", "DfFa", 28, Responder, 0, tcp.CloseFIN},
		{"one direction only", `
			0 > P. 100:10 ack 500
			10 > P. 110:10 ack 510
			20 > F. 120 ack 600`, tcp.FinWait1, tcp.Established, false, "SH", "DF", 28, Initiator, 0, 0},
		{"a SYN of a connection that the other end thinks is open", `
			0 > S 0
			10 < . 700 ack 900
			11 > R 900`, tcp.Closed, tcp.Closed, true, "RSTOS0", "SaR", 37, 0, Initiator, tcp.CloseRSTSent},
		{"retransmissions, gaps, zero windows in the history", established + `
			40 > P. 11:10 ack 11
			300 > P. 11:10 ack 11
			301 < . 11 ack 21 win 0
			310 > P. 31:10 ack 11
			320 < . 11 ack 41 win 0
			321 > FR 41`, tcp.Closed, tcp.Closed, true, "RSTO", "ShADdTawGI", 47, 0, Initiator, tcp.CloseRSTSent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, DefaultConfig(), tt.text, func(t *testing.T, a *Analyzer, c *Conn) {
				t.Helper()
				if i, r := c.Sides[0].State, c.Sides[1].State; i != tt.initiator || r != tt.responder {
					t.Errorf("states %v and %v, want %v and %v", i, r, tt.initiator, tt.responder)
				}
				if (c.Ended != 0) != tt.ended {
					t.Errorf("ended %v, want %v", c.Ended != 0, tt.ended)
				}
				if c.ConnState() != tt.zeek || c.History() != tt.history {
					t.Errorf("Zeek's %s %s, want %s %s", c.ConnState(), c.History(), tt.zeek, tt.history)
				}
				if c.Completeness != tt.completeness {
					t.Errorf("completeness %d, want %d", c.Completeness, tt.completeness)
				}
				if c.FirstFIN != tt.fin || c.FirstRST != tt.rst {
					t.Errorf("first FIN of %v, RST of %v; want %v, %v", c.FirstFIN, c.FirstRST, tt.fin, tt.rst)
				}
				if _, reason := c.closing(0); reason != tt.reason {
					t.Errorf("closed: %v, want %v", reason, tt.reason)
				}
				if c.Tuple.RemotePort != 443 {
					t.Errorf("the initiator is port %d", c.Tuple.LocalPort)
				}
			})
		})
	}
}

// TestCompleteness40: Wireshark 4.0 does not count a first segment, unless it is
// a SYN.
func TestCompleteness40(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Wireshark40 = true
	for text, want := range map[string]uint8{
		`0 > S 0`: CompleteSYN,
		`0 > P. 1:10 ack 1
		 1 < . 1 ack 11`: CompleteACK,
		`0 < S. 0 ack 1
		 1 > . 1 ack 1`: CompleteACK,
	} {
		play(t, cfg, text, func(t *testing.T, _ *Analyzer, c *Conn) {
			t.Helper()
			if c.Completeness != want {
				t.Errorf("%q: %d, want %d", text, c.Completeness, want)
			}
		})
	}
}

// TestHistoryScale: repeated events are noted at 1, 10 and 100.
func TestHistoryScale(t *testing.T) {
	c := &Conn{}
	var n uint32
	for range 1000 {
		c.noteScaled(0, &n, 'T')
	}
	if c.History() != "TTTT" {
		t.Errorf("%s for 1,000 events", c.History())
	}
	for range 100 {
		c.note(1, 'S')
	}
	if len(c.History()) != historyLen {
		t.Errorf("%d letters", len(c.History()))
	}
}

// TestReplaced: the streams that a reuse ends are told, in the state they had.
func TestReplaced(t *testing.T) {
	var ends []string
	cfg := DefaultConfig()
	cfg.OnEnd = func(c *Conn) { ends = append(ends, c.End.String()+" "+c.ConnState()+" "+c.History()) }
	play(t, cfg, `
		0 > S 0
		10 < S. 0 ack 1
		20 > F. 1 ack 1
		30 < F. 1 ack 2
		40 > . 2 ack 2
		5000 > S 999999 ; reused_ports stream=1
		5010 < R. 0 ack 1000000
		9000 < S 5 ; reused_ports stream=2 from=initiator
	`, func(t *testing.T, a *Analyzer, _ *Conn) {
		t.Helper()
		a.Flush()
		want := []string{"replaced SF ShFfA", "replaced REJ Sr", "flushed S0 S"}
		if len(ends) != len(want) {
			t.Fatalf("ended: %q, want %q", ends, want)
		}
		for i := range want {
			if ends[i] != want[i] {
				t.Errorf("ended: %q, want %q", ends[i], want[i])
			}
		}
		ends = nil
		if st := a.Stats(); st.Streams != 3 || st.Conns+st.HalfOpen != 0 || st.Ended[EndReplaced] != 2 || st.Ended[EndFlushed] != 1 {
			t.Errorf("%+v", st)
		}
	})
}
