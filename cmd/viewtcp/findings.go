package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// summaryTop is how many of each kind the summary names.
const summaryTop = 5

// findings are what stands out in a capture.
type findings struct {
	conns   int
	packets uint64
	wire    uint64
	payload uint64
	// retransmitted and sent are segments with payload, SYN or FIN.
	retransmitted, reordered, copied uint64
	states                           map[string]int
	reasons                          map[string]int
	zeroWindows                      int
	resets                           map[string]int

	talkers   map[tcp.Addr]uint64
	byBytes   ranking
	bySlow    ranking
	byLoss    ranking
	byZeroWin ranking
}

func newFindings() *findings {
	return &findings{
		states: make(map[string]int), reasons: make(map[string]int), resets: make(map[string]int),
		talkers: make(map[tcp.Addr]uint64),
	}
}

// ranking keeps the connections with the highest values.
type ranking struct{ rows []ranked }

type ranked struct {
	value uint64
	conn  *tcp.Conn
}

func (r *ranking) add(value uint64, row *tcp.Conn) {
	if value == 0 || len(r.rows) == summaryTop && value <= r.rows[len(r.rows)-1].value {
		return
	}
	i, _ := slices.BinarySearchFunc(r.rows, value, func(x ranked, v uint64) int { return -cmp.Compare(x.value, v) })
	for i < len(r.rows) && r.rows[i].value == value {
		i++
	}
	r.rows = slices.Insert(r.rows, i, ranked{value, copyOf(row)})
	if len(r.rows) > summaryTop {
		r.rows = r.rows[:summaryTop]
	}
}

func (s *findings) add(c *analysis.Conn, row *tcp.Conn) {
	s.conns++
	a, b := &c.Sides[0], &c.Sides[1]
	s.packets += a.Packets + b.Packets
	wire := a.WireBytes + b.WireBytes
	s.wire += wire
	s.payload += a.UniqueBytes + b.UniqueBytes
	s.talkers[c.Tuple.Local] += wire
	s.talkers[c.Tuple.Remote] += wire
	lost := verdicts(c, analysis.VerdictRetransmission)
	s.retransmitted += lost
	s.reordered += verdicts(c, analysis.VerdictReordered)
	s.copied += verdicts(c, analysis.VerdictNetworkDuplicate)
	s.states[row.Packets.ConnState]++
	if row.Reason != tcp.CloseUnknown {
		s.reasons[row.Reason.String()]++
	}
	if c.FirstRST != analysis.OriginUnknown {
		s.resets[c.FirstRST.String()]++
	}
	zero := uint64(row.Packets.ZeroWindows[0]) + uint64(row.Packets.ZeroWindows[1])
	if zero > 0 {
		s.zeroWindows++
	}
	s.byBytes.add(wire, row)
	s.bySlow.add(uint64(max(c.InitialRTT, 0))/1000, row)
	s.byLoss.add(lost, row)
	s.byZeroWin.add(zero, row)
}

func verdicts(c *analysis.Conn, v analysis.Verdict) uint64 {
	return uint64(c.Sides[0].Verdicts[v]) + uint64(c.Sides[1].Verdicts[v])
}

// print writes the summary as text; JSON formats get one object.
func (s *findings) print(o *analyzed, r *reading) error {
	if o.a.format == formatJSON || o.a.format == formatJSONL {
		return s.printJSON(o, r)
	}
	w := &errWriter{w: o.e.stdout}
	from, to := r.span()
	fmt.Fprintf(w, "%s: %d frames, %d with TCP, %d connections\n", output.Clean(title(r)), r.frames(), r.segments(), s.conns)
	if from != 0 {
		fmt.Fprintf(w, "from %s, for %s\n", time.Unix(0, from).Format("2006-01-02 15:04:05.000"),
			output.AppendMicros(nil, uint64((to-from)/1000)))
	}
	fmt.Fprintf(w, "%s on the wire, %s of payload; %d segments sent again (%s), %d reordered, %d copied by the network\n\n",
		output.AppendBytes(nil, s.wire), output.AppendBytes(nil, s.payload),
		s.retransmitted, percent(s.retransmitted, s.packets), s.reordered, s.copied)
	counts(w, "conn_state", s.states)
	counts(w, "ended by", s.reasons)
	counts(w, "first RST from", s.resets)
	s.printTalkers(w)
	ranks(w, "most bytes", s.byBytes, func(v uint64) string { return string(output.AppendBytes(nil, v)) })
	ranks(w, "slowest handshakes (initial RTT)", s.bySlow, func(v uint64) string { return string(output.AppendMicros(nil, v)) })
	ranks(w, "most segments sent again", s.byLoss, func(v uint64) string { return fmt.Sprint(v) })
	ranks(w, "most zero windows", s.byZeroWin, func(v uint64) string { return fmt.Sprint(v) })
	return w.err
}

func percent(part, whole uint64) string {
	if whole == 0 {
		return output.Unknown
	}
	return fmt.Sprintf("%.2f %% of packets", 100*float64(part)/float64(whole))
}

// counts prints a line of names with their numbers, the largest first.
func counts(w io.Writer, name string, m map[string]int) {
	if len(m) == 0 {
		return
	}
	fmt.Fprintf(w, "%-16s", name)
	for _, k := range byCount(m) {
		fmt.Fprintf(w, "  %s %d", k, m[k])
	}
	fmt.Fprintln(w)
}

func byCount(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	return keys
}

func (s *findings) topTalkers() []tcp.Addr {
	addrs := make([]tcp.Addr, 0, len(s.talkers))
	for a := range s.talkers {
		addrs = append(addrs, a)
	}
	slices.SortFunc(addrs, func(a, b tcp.Addr) int {
		return cmp.Or(cmp.Compare(s.talkers[b], s.talkers[a]), a.IP().Compare(b.IP()))
	})
	return addrs[:min(len(addrs), summaryTop)]
}

func (s *findings) printTalkers(w io.Writer) {
	top := s.topTalkers()
	if len(top) == 0 {
		return
	}
	fmt.Fprint(w, "\nbusiest addresses\n")
	for _, a := range top {
		fmt.Fprintf(w, "  %8s  %s\n", output.AppendBytes(nil, s.talkers[a]), a)
	}
}

func ranks(w io.Writer, name string, r ranking, text func(uint64) string) {
	if len(r.rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", name)
	for _, x := range r.rows {
		fmt.Fprintf(w, "  %8s  stream %-6d %s > %s  %s\n", text(x.value), x.conn.Packets.Stream,
			appendAddrPort(nil, x.conn.Local, x.conn.LocalPort), appendAddrPort(nil, x.conn.Remote, x.conn.RemotePort),
			x.conn.Packets.ConnState)
	}
}

// errWriter keeps the first error of many small writes.
type errWriter struct {
	w   io.Writer
	err error
}

func (w *errWriter) Write(b []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.w.Write(b)
	w.err = err
	return n, err
}

// printJSON writes the summary as one object.
func (s *findings) printJSON(o *analyzed, r *reading) error {
	type entry struct {
		Stream uint32 `json:"stream"`
		ID     string `json:"id"`
		Value  uint64 `json:"value"`
	}
	entries := func(r ranking) []entry {
		list := make([]entry, 0, len(r.rows))
		for _, x := range r.rows {
			list = append(list, entry{x.conn.Packets.Stream, x.conn.ID.String(), x.value})
		}
		return list
	}
	type talker struct {
		Address string `json:"address"`
		Bytes   uint64 `json:"wire_bytes"`
	}
	talkers := make([]talker, 0, summaryTop)
	for _, a := range s.topTalkers() {
		talkers = append(talkers, talker{a.String(), s.talkers[a]})
	}
	from, to := r.span()
	object := struct {
		Frames          uint64         `json:"frames"`
		Segments        uint64         `json:"packets"`
		Connections     int            `json:"connections"`
		First           string         `json:"first,omitempty"`
		Duration        int64          `json:"duration_us"`
		WireBytes       uint64         `json:"wire_bytes"`
		Payload         uint64         `json:"payload_bytes"`
		Retransmitted   uint64         `json:"retransmitted"`
		Reordered       uint64         `json:"reordered"`
		Copied          uint64         `json:"network_duplicates"`
		States          map[string]int `json:"conn_states"`
		Reasons         map[string]int `json:"close_reasons"`
		Resets          map[string]int `json:"first_rst_from"`
		Talkers         []talker       `json:"busiest"`
		MostBytes       []entry        `json:"most_wire_bytes"`
		Slowest         []entry        `json:"highest_initial_rtt_us"`
		Lossiest        []entry        `json:"most_retransmitted"`
		MostZeroWindows []entry        `json:"most_zero_windows"`
	}{
		r.frames(), r.segments(), s.conns, "", (to - from) / 1000, s.wire, s.payload,
		s.retransmitted, s.reordered, s.copied, s.states, s.reasons, s.resets, talkers,
		entries(s.byBytes), entries(s.bySlow), entries(s.byLoss), entries(s.byZeroWin),
	}
	if from != 0 {
		object.First = string(tcp.AppendTime(nil, from))
	}
	b, err := json.Marshal(object)
	if err != nil {
		return err
	}
	_, err = o.e.stdout.Write(append(b, '\n'))
	return err
}
