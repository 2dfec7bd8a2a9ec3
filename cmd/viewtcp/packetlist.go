package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// packetList prints segments with what the analysis says of them.
type packetList struct {
	out    io.Writer
	format string
	header bool
	color  bool
	ladder bool
	// live says that the packets come from this host, whose processes are known.
	live    bool
	limit   int
	printed int
	start   int64
	buf     []byte
	names   []string
	err     error
}

func newPacketList(e env, a *analyzeFlags) *packetList {
	return &packetList{
		out: e.stdout, format: a.format, header: !a.noHeader, color: a.useColor(e.stdout), limit: a.limit,
		ladder: a.stream >= 0 && a.format == formatTable,
	}
}

// packetRow is one segment to print.
type packetRow struct {
	file string
	seg  *capture.Segment
	v    *analysis.Packet
	// fromLocal says that the local end sent it.
	fromLocal bool
	// own is the local end on this host, and peer the remote one if that is here
	// too; of files nothing is known.
	own, peer packetEnd
}

// packetEnd is a socket of this host and its process, as far as they are known.
type packetEnd struct {
	process *tcp.Process
	id      tcp.ID
}

// full reports whether as many as were asked for are printed.
func (l *packetList) full() bool { return l.limit > 0 && l.printed >= l.limit }

func (l *packetList) add(p *packetRow) error {
	if l.printed == 0 {
		l.start = p.seg.Time
		l.begin(p)
	}
	switch l.format {
	case formatJSON:
		l.buf = l.appendJSON(appendElement(l.buf, l.printed), p)
	case formatJSONL:
		l.buf = append(l.appendJSON(l.buf, p), '\n')
	case formatCSV:
		l.buf = l.appendCSV(l.buf, p)
	default:
		if l.ladder {
			l.buf = l.appendRung(l.buf, p)
		} else {
			l.buf = l.appendLine(l.buf, p)
		}
	}
	l.printed++
	if len(l.buf) >= flushAt {
		l.flush()
	}
	return l.err
}

func (l *packetList) flush() {
	if l.err == nil {
		_, l.err = l.out.Write(l.buf)
	}
	l.buf = l.buf[:0]
}

func (l *packetList) begin(p *packetRow) {
	switch {
	case l.format == formatJSON:
		l.buf = append(l.buf, '[')
	case !l.header:
	case l.format == formatCSV:
		l.buf = append(l.buf, packetCSV...)
		if l.live {
			l.buf = append(l.buf, liveCSV...)
		}
		l.buf = append(l.buf, '\n')
	case l.format == formatTable && l.ladder:
		l.buf = appendLadderHead(l.buf, p)
	case l.format == formatTable, l.format == formatWide:
		l.buf = append(l.buf, "   FRAME         TIME  STREAM  FROM                        TO                     FLAGS              SEQ         ACK     LEN      WIN  "...)
		if l.live {
			l.buf = append(l.buf, "PROCESS          "...)
		}
		l.buf = append(l.buf, "ANALYSIS\n"...)
	}
}

func (l *packetList) finish() error {
	if l.format == formatJSON {
		if l.printed == 0 {
			l.buf = append(l.buf, '[')
		}
		l.buf = appendArrayEnd(l.buf, l.printed)
	}
	l.flush()
	return l.err
}

// packetCSV is the line of names.
const packetCSV = "file,frame,time,stream,from,source_ip,source_port,destination_ip,destination_port,flags," +
	"seq,ack,relative_seq,relative_ack,len,window,calculated_window,wire_len,captured_len," +
	"analysis,verdict,verdict_reason,dup_ack_number,ack_rtt_us,rto_us,bytes_in_flight"

// liveCSV is what follows it where processes are known.
const liveCSV = ",id,pid,process,peer_id,peer_pid,peer_process"

func (l *packetList) appendCSV(b []byte, p *packetRow) []byte {
	s, v := p.seg, p.v
	b = append(output.AppendCSVText(b, p.file), ',')
	b = append(strconv.AppendUint(b, s.Number, 10), ',')
	if s.Time != 0 {
		b = tcp.AppendTime(b, s.Time)
	}
	b = append(b, ',')
	b = append(strconv.AppendUint(b, uint64(v.Stream), 10), ',')
	b = append(append(b, side(p.fromLocal)...), ',')
	b = append(s.Tuple.Local.AppendTo(b), ',')
	b = append(strconv.AppendUint(b, uint64(s.Tuple.LocalPort), 10), ',')
	b = append(s.Tuple.Remote.AppendTo(b), ',')
	b = append(strconv.AppendUint(b, uint64(s.Tuple.RemotePort), 10), ',', '"')
	b = append(appendTCPFlags(b, s.Flags), '"', ',')
	for _, n := range [...]uint32{s.Seq, s.Ack, v.RelSeq, v.RelAck, s.Len, uint32(s.Window), v.CalculatedWindow, s.WireLen, s.CapLen} {
		b = append(strconv.AppendUint(b, uint64(n), 10), ',')
	}
	b = append(b, '"')
	for i, name := range l.analysisNames(v) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, name...)
	}
	b = append(b, '"', ',')
	b = append(append(b, v.Verdict.String()...), ',')
	b = append(output.AppendCSVText(b, v.Reason.String()), ',')
	for i, n := range [...]uint64{uint64(v.DupAckNumber), micros(v.AckRTT), micros(v.RTO), uint64(v.BytesInFlight)} {
		if i > 0 {
			b = append(b, ',')
		}
		if n > 0 {
			b = strconv.AppendUint(b, n, 10)
		}
	}
	if l.live {
		b = p.peer.appendCSV(p.own.appendCSV(b))
	}
	return append(b, '\n')
}

func (e *packetEnd) appendCSV(b []byte) []byte {
	b = append(b, ',')
	if e.id != 0 {
		b = e.id.AppendTo(b)
	}
	if e.process == nil {
		return append(b, ",,"...)
	}
	b = append(strconv.AppendInt(append(b, ','), int64(e.process.PID), 10), ',')
	return output.AppendCSVText(b, e.process.Name)
}

func (e *packetEnd) appendJSON(b []byte, prefix string) []byte {
	key := func(name string) { b = append(append(append(append(b, ',', '"'), prefix...), name...), '"', ':') }
	if e.id != 0 {
		key("id")
		b = append(e.id.AppendTo(append(b, '"')), '"')
	}
	if e.process != nil {
		key("pid")
		b = strconv.AppendInt(b, int64(e.process.PID), 10)
		key("process")
		b = output.AppendJSONString(b, e.process.Name)
	}
	return b
}

func micros(d time.Duration) uint64 { return uint64(max(d.Microseconds(), 0)) }

func side(local bool) string {
	if local {
		return "local"
	}
	return "remote"
}

func (l *packetList) analysisNames(v *analysis.Packet) []string {
	l.names = v.Flags.AppendNames(l.names[:0])
	return l.names
}

func (l *packetList) appendJSON(b []byte, p *packetRow) []byte {
	s, v := p.seg, p.v
	number := func(key string, n uint64) { b = strconv.AppendUint(append(b, key...), n, 10) }
	known := func(key string, n uint64) {
		if n > 0 {
			number(key, n)
		}
	}
	b = append(b, '{')
	if p.file != "" {
		b = append(output.AppendJSONString(append(b, `"file":`...), p.file), ',')
	}
	number(`"frame":`, s.Number)
	if s.Time != 0 {
		b = append(tcp.AppendTime(append(b, `,"time":"`...), s.Time), '"')
	}
	number(`,"stream":`, uint64(v.Stream))
	b = p.peer.appendJSON(p.own.appendJSON(b, ""), "peer_")
	b = append(append(append(b, `,"from":"`...), side(p.fromLocal)...), '"')
	b = append(s.Tuple.Local.AppendTo(append(b, `,"source_ip":"`...)), '"')
	number(`,"source_port":`, uint64(s.Tuple.LocalPort))
	b = append(s.Tuple.Remote.AppendTo(append(b, `,"destination_ip":"`...)), '"')
	number(`,"destination_port":`, uint64(s.Tuple.RemotePort))
	b = append(appendTCPFlags(append(b, `,"flags":"`...), s.Flags), '"')
	number(`,"seq":`, uint64(s.Seq))
	number(`,"ack":`, uint64(s.Ack))
	number(`,"relative_seq":`, uint64(v.RelSeq))
	if s.Flags&capture.ACK != 0 {
		number(`,"relative_ack":`, uint64(v.RelAck))
	}
	number(`,"len":`, uint64(s.Len))
	number(`,"window":`, uint64(s.Window))
	number(`,"calculated_window":`, uint64(v.CalculatedWindow))
	number(`,"wire_len":`, uint64(s.WireLen))
	number(`,"captured_len":`, uint64(s.CapLen))
	b = append(b, `,"analysis":[`...)
	for i, name := range l.analysisNames(v) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), name...), '"')
	}
	b = append(append(append(b, `],"verdict":"`...), v.Verdict.String()...), '"')
	if r := v.Reason.String(); r != "" {
		b = output.AppendJSONString(append(b, `,"verdict_reason":`...), r)
	}
	known(`,"dup_ack_number":`, uint64(v.DupAckNumber))
	known(`,"ack_rtt_us":`, micros(v.AckRTT))
	known(`,"rto_us":`, micros(v.RTO))
	known(`,"bytes_in_flight":`, uint64(v.BytesInFlight))
	return append(b, '}')
}

// appendLine appends one line for people.
func (l *packetList) appendLine(b []byte, p *packetRow) []byte {
	s, v := p.seg, p.v
	b = fmt.Appendf(b, "%8d %12.6f  %6d  ", s.Number, float64(s.Time-l.start)/1e9, v.Stream)
	at := len(b)
	b = pad(appendAddrPort(b, s.Tuple.Local, s.Tuple.LocalPort), at, 22)
	b = append(b, " > "...)
	at = len(b)
	b = append(pad(appendAddrPort(b, s.Tuple.Remote, s.Tuple.RemotePort), at, 22), ' ')
	at = len(b)
	b = pad(appendTCPFlags(b, s.Flags), at, 11)
	ack := "-"
	if s.Flags&capture.ACK != 0 {
		ack = strconv.FormatUint(uint64(v.RelAck), 10)
	}
	b = fmt.Appendf(b, " %10d  %10s %7d %8d", v.RelSeq, ack, s.Len, v.CalculatedWindow)
	if l.live {
		b = append(b, "  "...)
		at = len(b)
		if p.own.process != nil {
			b = output.AppendClean(b, p.own.process.Name)
		}
		b = pad(b, at, 15)
	}
	b = l.appendMarks(append(b, "  "...), v)
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return append(b, '\n')
}

// appendMarks appends the flags of the analysis and, where it says more than
// they do, our verdict.
func (l *packetList) appendMarks(b []byte, v *analysis.Packet) []byte {
	at := len(b)
	on, off := "", ""
	if l.color && v.Flags != 0 || l.color && v.Verdict != analysis.VerdictNew {
		on, off = "\x1b[33m", "\x1b[0m"
		if v.Verdict == analysis.VerdictRetransmission || v.Flags&(analysis.Retransmission|analysis.ZeroWindow) != 0 {
			on = "\x1b[31m"
		}
	}
	b = append(b, on...)
	sep := func() {
		if len(b) > at+len(on) {
			b = append(b, ", "...)
		}
	}
	for _, name := range l.analysisNames(v) {
		sep()
		b = append(b, name...)
		if name == "duplicate_ack" && v.DupAckNumber > 0 {
			b = append(b, '#')
			b = strconv.AppendUint(b, uint64(v.DupAckNumber), 10)
		}
	}
	if v.Verdict != analysis.VerdictNew {
		sep()
		b = append(b, "verdict: "...)
		b = append(b, v.Verdict.String()...)
		if r := v.Reason.String(); r != "" {
			b = append(append(append(b, " ("...), r...), ')')
		}
	}
	return append(b, off...)
}

func appendAddrPort(b []byte, a tcp.Addr, port uint16) []byte {
	if a.Is4() {
		b = a.AppendTo(b)
	} else {
		b = append(a.AppendTo(append(b, '[')), ']')
	}
	return strconv.AppendUint(append(b, ':'), uint64(port), 10)
}

// pad fills up to width what was appended from at on.
func pad(b []byte, at, width int) []byte {
	for len(b)-at < width {
		b = append(b, ' ')
	}
	return b
}

var tcpFlagNames = [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"}

// tcpFlagOrder is the usual order in text: SYN,ACK and FIN,ACK.
var tcpFlagOrder = [...]int{1, 0, 2, 3, 4, 5, 6, 7, 8}

// appendTCPFlags appends the names of the control bits, as "SYN,ACK".
func appendTCPFlags(b []byte, f capture.Flags) []byte {
	first := true
	for _, i := range tcpFlagOrder {
		if f>>i&1 == 0 {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		b, first = append(b, tcpFlagNames[i]...), false
	}
	return b
}
