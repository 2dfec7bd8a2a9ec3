package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// sideOf is one end of a connection.
type sideOf struct {
	*analysis.Side
	rare *analysis.Rare
}

// detailLine is one line of the two-sided part of a connection's details.
type detailLine struct {
	name string
	// value appends what one side has; nothing is shown as unknown.
	value func(b []byte, s sideOf) []byte
}

func countLine(name string, n func(s sideOf) uint64) detailLine {
	return detailLine{name, func(b []byte, s sideOf) []byte { return strconv.AppendUint(b, n(s), 10) }}
}

func flagLine(name string, f analysis.Flags) detailLine {
	return countLine(name, func(s sideOf) uint64 { return uint64(s.rare.Count(f)) })
}

func verdictLine(name string, v analysis.Verdict) detailLine {
	return countLine(name, func(s sideOf) uint64 { return uint64(s.Verdicts[v]) })
}

func timeLine(name string, d func(s sideOf) (time.Duration, bool)) detailLine {
	return detailLine{name, func(b []byte, s sideOf) []byte {
		v, ok := d(s)
		if !ok {
			return b
		}
		return output.AppendMicros(b, uint64(max(v.Microseconds(), 0)))
	}}
}

func rttLine(name string, d func(r *analysis.RTT) time.Duration) detailLine {
	return timeLine(name, func(s sideOf) (time.Duration, bool) { return d(&s.RTT), s.RTT.N > 0 })
}

func rateLine(name string, n func(s sideOf) uint64) detailLine {
	return detailLine{name, func(b []byte, s sideOf) []byte {
		v := n(s)
		if v == 0 {
			return b
		}
		return append(output.AppendBytes(b, v), "/s"...)
	}}
}

// detailGroups are the lines in their order, with an empty line between groups.
var detailGroups = [][]detailLine{
	{
		countLine("packets", func(s sideOf) uint64 { return s.Packets }),
		countLine("packets with payload", func(s sideOf) uint64 { return s.DataPackets }),
		countLine("pure ACKs", func(s sideOf) uint64 { return uint64(s.PureAcks) }),
		countLine("bytes on the wire", func(s sideOf) uint64 { return s.WireBytes }),
		countLine("payload bytes", func(s sideOf) uint64 { return s.PayloadBytes }),
		countLine("distinct payload bytes", func(s sideOf) uint64 { return s.UniqueBytes }),
		countLine("retransmitted bytes", func(s sideOf) uint64 { return s.RetransmittedBytes }),
		rateLine("throughput", func(s sideOf) uint64 { return s.Throughput() }),
		rateLine("goodput", func(s sideOf) uint64 { return s.Goodput() }),
	},
	{
		{"SYN / FIN / RST", func(b []byte, s sideOf) []byte {
			return fmt.Appendf(b, "%d / %d / %d", s.SYNs, s.FINs, s.RSTs)
		}},
		{"state at the end", func(b []byte, s sideOf) []byte { return append(b, s.State.String()...) }},
		{"options", appendOptions},
		{"MSS", func(b []byte, s sideOf) []byte {
			if s.MSS == 0 {
				return b
			}
			return strconv.AppendUint(b, uint64(s.MSS), 10)
		}},
		{"window scale", func(b []byte, s sideOf) []byte {
			switch {
			case s.WScale == -2:
				return append(b, "not used"...)
			case s.WScale < 0:
				return b
			}
			return strconv.AppendInt(b, int64(s.WScale), 10)
		}},
		{"segment min/avg/max", func(b []byte, s sideOf) []byte {
			if s.DataPackets == 0 {
				return b
			}
			return fmt.Appendf(b, "%d / %d / %d", s.SegmentMin, s.SegmentAvg(), s.SegmentMax)
		}},
		{"window min/avg/max", func(b []byte, s sideOf) []byte {
			if s.WindowMax == 0 && s.WindowMin == 0 && s.rare.Count(analysis.ZeroWindow) == 0 {
				return b
			}
			return fmt.Appendf(b, "%d / %d / %d", s.WindowMin, s.WindowAvg(), s.WindowMax)
		}},
		countLine("bytes in flight, max", func(s sideOf) uint64 { return uint64(s.InFlightMax) }),
		countLine("bytes in flight, avg", func(s sideOf) uint64 { return uint64(s.InFlightAvg()) }),
		countLine("initial window, bytes", func(s sideOf) uint64 { return uint64(s.InitialWindow) }),
		timeLine("longest silence", func(s sideOf) (time.Duration, bool) { return time.Duration(s.IdleMax), s.Packets > 1 }),
	},
	{
		countLine("RTT samples", func(s sideOf) uint64 { return uint64(s.RTT.N) }),
		rttLine("RTT min", (*analysis.RTT).Min),
		rttLine("RTT avg", (*analysis.RTT).Avg),
		rttLine("RTT max", (*analysis.RTT).Max),
	},
	{
		verdictLine("sent again (our verdict)", analysis.VerdictRetransmission),
		verdictLine("reordered (our verdict)", analysis.VerdictReordered),
		verdictLine("copied by the network", analysis.VerdictNetworkDuplicate),
		flagLine("retransmission", analysis.Retransmission),
		flagLine("  fast", analysis.FastRetransmission),
		flagLine("  spurious", analysis.SpuriousRetransmission),
		flagLine("out of order", analysis.OutOfOrder),
		flagLine("lost segment before", analysis.LostSegment),
		flagLine("ACK of unseen segment", analysis.AckLostSegment),
		flagLine("duplicate ACK", analysis.DuplicateAck),
		countLine("  triple", func(s sideOf) uint64 { return uint64(s.rare.TripleDupAcks) }),
		countLine("ACKs with SACK", func(s sideOf) uint64 { return uint64(s.SACKs) }),
		countLine("  of them DSACK", func(s sideOf) uint64 { return uint64(s.rare.DSACKs) }),
		flagLine("zero window", analysis.ZeroWindow),
		flagLine("zero window probe", analysis.ZeroWindowProbe),
		flagLine("window full", analysis.WindowFull),
		flagLine("window update", analysis.WindowUpdate),
		flagLine("keep-alive", analysis.KeepAlive),
		countLine("ECN: congestion marks", func(s sideOf) uint64 { return uint64(s.rare.CEs) }),
	},
}

func appendOptions(b []byte, s sideOf) []byte {
	for _, o := range [...]struct {
		opt  capture.Opts
		name string
	}{
		{capture.OptSACKPermitted, "SACK"},
		{capture.OptTimestamps, "timestamps"},
		{capture.OptWScale, "scale"},
		{capture.OptMPTCP, "MPTCP"},
		{capture.OptFastOpen, "fast open"},
	} {
		if s.Opts&o.opt != 0 {
			if len(b) > 0 && b[len(b)-1] != ' ' {
				b = append(b, ' ')
			}
			b = append(b, o.name...)
		}
	}
	return b
}

// The widths of the names and of each side.
const (
	detailName   = 26
	detailColumn = 32
)

// appendDetail appends all that is known of a connection: -o wide.
func appendDetail(b []byte, an *analysis.Analyzer, c *analysis.Conn, row *tcp.Conn) []byte {
	b = fmt.Appendf(b, "stream %d  %s:%d -> %s:%d  %s\n", c.Stream,
		c.Tuple.Local, c.Tuple.LocalPort, c.Tuple.Remote, c.Tuple.RemotePort, row.ID)
	line := func(name, value string) {
		if value != "" {
			b = fmt.Appendf(b, "  %-*s%s\n", detailName, name, value)
		}
	}
	human := func(field string) string {
		f := tcp.FieldByName(field)
		if f == nil || !f.Known(row) {
			return ""
		}
		return string(output.AppendHuman(nil, f, row))
	}
	first, last := time.Unix(0, c.First), time.Unix(0, c.Last)
	line("first packet", first.Format("2006-01-02 15:04:05.000000"))
	line("last packet", last.Format("2006-01-02 15:04:05.000000")+" ("+
		string(output.AppendMicros(nil, uint64(time.Duration(c.Duration()).Microseconds())))+" later)")
	line("conn_state, history", human("conn_state")+"  "+human("history"))
	ended := human("close_reason")
	if by := human("closed_by"); ended != "" && by != "" {
		ended += ", by the " + by + " end first"
	}
	line("ended", ended)
	responder, initiator := c.Handshake()
	if responder > 0 {
		text := "SYN to SYN-ACK " + string(output.AppendMicros(nil, uint64(responder/1000)))
		if initiator > 0 {
			text += ", to ACK " + string(output.AppendMicros(nil, uint64(initiator/1000)))
		}
		line("handshake", text)
	}
	line("initial RTT", human("initial_rtt_us"))
	for _, name := range []string{"sni", "alpn", "http_host"} {
		line(name, human(name))
	}
	b = fmt.Appendf(b, "\n  %-*s%*s%*s\n", detailName, "", detailColumn, "initiator", detailColumn, "responder")
	var cells [2][]byte
	for n, group := range detailGroups {
		for _, l := range group {
			something := false
			for i := range cells {
				cells[i] = l.value(cells[i][:0], sideOf{&c.Sides[i], an.Rare(&c.Sides[i])})
				something = something || len(cells[i]) > 0 && string(cells[i]) != "0"
				if len(cells[i]) == 0 {
					cells[i] = append(cells[i], output.Unknown...)
				}
			}
			if !something && n > 1 {
				continue
			}
			b = fmt.Appendf(b, "  %-*s%*s%*s\n", detailName, l.name, detailColumn, cells[0], detailColumn, cells[1])
		}
	}
	return b
}
