package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/report"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// analyzed prints what a reading shows, in the ways that the flags ask for.
type analyzed struct {
	e      env
	a      *analyzeFlags
	filter *filter.Filter
	match  func(*tcp.Conn) bool
	local  func(tcp.Addr) bool
	ids    tcp.IDs
	// shown is how many connections or packets matched.
	shown int
	// stats are those of the analyzer after the last pass.
	stats analysis.Stats
	// analyzer is that of the pass at hand.
	analyzer *analysis.Analyzer
}

// print makes the passes over the capture that are needed, and prints.
func (o *analyzed) print(r *reading) error {
	o.match = o.filter.Predicate()
	o.ids = tcp.NewIDs(r.observer())
	switch {
	case o.a.twice:
		return o.packetsOfChosen(r)
	case o.a.packets:
		return o.packets(r, nil)
	}
	return o.connections(r)
}

// connections prints connections, the summary or the report: all that one pass
// can tell.
func (o *analyzed) connections(r *reading) error {
	var (
		list *connList
		sum  *findings
		page *report.Collector
		err  error
	)
	if o.a.html != "" {
		page = report.New(report.Options{Title: title(r), Version: version})
	}
	switch {
	case o.a.summary:
		sum = newFindings()
	case page == nil || o.a.outputAsked:
		if list, err = newConnList(o); err != nil {
			return err
		}
	}
	passErr := o.pass(r, func(c *analysis.Conn, row *tcp.Conn) {
		if !o.chosen(row) {
			if page != nil {
				page.Drop(c.Stream)
			}
			return
		}
		o.shown++
		if sum != nil {
			sum.add(c, row)
		}
		if list != nil {
			list.add(c, row)
		}
		if page != nil {
			page.Conn(c.Stream, row)
		}
	}, func(p *packetOf, v *analysis.Packet) error {
		if page != nil {
			page.Packet(pointOf(p.seg, v))
		}
		return nil
	})
	if list != nil {
		if err := list.finish(); err != nil {
			return err
		}
	}
	if sum != nil {
		if err := sum.print(o, r); err != nil {
			return err
		}
	}
	if page != nil {
		if err := o.writeReport(r, page); err != nil {
			return err
		}
	}
	o.tellLeftOut(r)
	return passErr
}

// chosen reports whether a connection is among those asked for.
func (o *analyzed) chosen(row *tcp.Conn) bool {
	return (o.a.stream < 0 || row.Packets.Stream == uint32(o.a.stream)) && o.match(row)
}

// pass runs the analysis over the capture. ended is called with each connection
// and its row, which is used again for the next one; packet, if not nil, with
// each segment.
func (o *analyzed) pass(r *reading, ended func(c *analysis.Conn, row *tcp.Conn), packet func(p *packetOf, v *analysis.Packet) error) error {
	cfg := o.a.analysis()
	var (
		an  *analysis.Analyzer
		row tcp.Conn
	)
	if ended != nil {
		cfg.OnEnd = func(c *analysis.Conn) {
			if c.Sides[0].Packets+c.Sides[1].Packets == 0 {
				return // quoted in ICMP errors alone
			}
			an.Fill(c, o.ids, o.local, &row)
			ended(c, &row)
		}
	}
	an = analysis.New(cfg)
	o.analyzer = an
	var v analysis.Packet
	err := r.pass(func(p *packetOf) error {
		an.Add(p.seg, &v)
		if packet == nil {
			return nil
		}
		return packet(p, &v)
	})
	an.Flush()
	o.stats = an.Stats()
	return err
}

// copyOf is a row that may be kept.
func copyOf(row *tcp.Conn) *tcp.Conn {
	c := *row
	stats := *row.Packets
	c.Packets = &stats
	return &c
}

// tellLeftOut warns of what a reader of the output would not see.
func (o *analyzed) tellLeftOut(r *reading) {
	o.e.warn(r.leftOut())
	if n := o.stats.Ended[analysis.EndEvicted]; n > 0 {
		o.e.warn(fmt.Sprintf("%d connections were ended early to stay within memory (%d of them half-open): what came later of them counts as other connections",
			n, o.stats.EvictedHalfOpen))
	}
	if n := o.stats.DroppedUnacked + o.stats.DroppedHoles; n > 0 {
		o.e.warn(fmt.Sprintf("%d segments were not remembered to stay within memory: some flags and verdicts may differ", n))
	}
	if r.segments() == 0 && len(r.problems) == 0 && r.ctx.Err() == nil {
		o.e.warn(fmt.Sprintf("no TCP in %d frames", r.frames()))
	}
}

// broken says whether frames left out for a reason may have been TCP.
func broken(r capture.Reason) bool {
	switch r {
	case capture.TCP, capture.NotIP, capture.NotTCP, capture.LaterFragment:
		return false
	default:
		return true
	}
}

// title names a capture without telling where it lies.
func title(r *reading) string {
	s := filepath.Base(r.files[0].name)
	if s == "-" {
		s = "standard input"
	}
	if n := len(r.files) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// writeReport puts the page in place of the file at once, so that a reader never
// sees half of it.
func (o *analyzed) writeReport(r *reading, page *report.Collector) error {
	files := make([]report.FileInfo, 0, len(r.files))
	for i := range r.files {
		f := &r.files[i]
		info := report.FileInfo{
			Name: f.name, Size: f.size, Packets: f.frames, First: f.from, Last: f.to,
			Reasons: make(map[string]uint64),
		}
		for i, n := range f.reasons {
			if reason := capture.Reason(i); n > 0 && reason != capture.TCP {
				info.Reasons[reason.String()] = n
			}
		}
		files = append(files, info)
	}
	page.SetFiles(files)
	var size int64
	err := replaceFile(o.a.html, func(w io.Writer) (err error) {
		size, err = page.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	fmt.Fprintf(o.e.stderr, "viewtcp: wrote the report %s (%s)\n", output.Clean(o.a.html), output.AppendBytes(nil, uint64(size)))
	return nil
}

// pointOf is what the report keeps of a segment.
func pointOf(s *capture.Segment, v *analysis.Packet) report.Point {
	p := report.Point{
		Stream: v.Stream, FromInitiator: v.Initiator, Verdict: uint8(v.Verdict), Flags: uint16(s.Flags),
		Analysis: uint32(v.Flags), Time: s.Time, Frame: s.Number, Len: s.Len, InFlight: v.BytesInFlight,
		RTT: uint32(min(v.AckRTT.Microseconds(), 1<<32-1)), Window: uint64(v.CalculatedWindow),
		Seq: relative(v.RelSeq), Ack: relative(v.RelAck), SACKLen: s.SACKLen,
	}
	for i := range s.SACKLen {
		// Blocks lie within half the sequence space of the acknowledgement.
		p.SACK[i] = [2]uint64{
			p.Ack + uint64(int64(int32(s.SACK[i].Left-s.Ack))),
			p.Ack + uint64(int64(int32(s.SACK[i].Right-s.Ack))),
		}
	}
	return p
}

// relative turns a relative sequence number shortly before the first one, as a
// keep-alive has, into a negative one.
func relative(n uint32) uint64 {
	if n >= 1<<32-1<<20 {
		return uint64(int64(int32(n)))
	}
	return uint64(n)
}
