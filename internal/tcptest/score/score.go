package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
)

// tally compares what was found with what is true.
type tally struct{ hit, missed, wrong int }

func (t *tally) add(got, want bool) {
	switch {
	case got && want:
		t.hit++
	case want:
		t.missed++
	case got:
		t.wrong++
	}
}

func (t tally) recall() float64    { return part(t.hit, t.hit+t.missed) }
func (t tally) precision() float64 { return part(t.hit, t.hit+t.wrong) }

func (t tally) f1() float64 {
	r, p := t.recall(), t.precision()
	if r+p == 0 {
		return 0
	}
	return 2 * r * p / (r + p)
}

// part is 1 where there is nothing to be part of.
func part(n, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}

// share counts how many of all are equal.
type share struct{ equal, all int }

func (s *share) add(ok bool) {
	s.all++
	if ok {
		s.equal++
	}
}

func (s share) part() float64 { return part(s.equal, s.all) }

// difference is one packet that is not as in the truth.
type difference struct {
	frame     uint64
	got, want analysis.Flags
}

// fileScore is the score of one capture.
type fileScore struct {
	name string
	err  string
	// masks compares all flags of a packet together, streams its stream number
	// and direction.
	masks, streams share
	differences    []difference
}

// result is the score of all captures.
type result struct {
	files                  []fileScore
	masks, numbered, dirs  share
	flags                  [analysis.NumFlags]tally
	flights, ackRTTs, dups share
	// streams, packets, payload, and complete compare the unambiguous streams.
	streams, packets, bytes, payload   share
	completeness, initialRTT, mss, win share
	kernel                             []kernelScore
	sender, far, farCopies             tally
	connections                        share
}

// kernelScore is the score of one capture of which the kernel is known.
type kernelScore struct {
	name        string
	sender, far tally
	connections share
}

// score analyses all captures of a directory and compares with its truth.
func score(ctx context.Context, dir string, cfg analysis.Config) (*result, error) {
	files, err := loadTruth(dir)
	if err != nil {
		return nil, err
	}
	labels, err := loadKernel(dir)
	if err != nil {
		return nil, err
	}
	r := &result{}
	for i := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.file(&files[i], labels[files[i].name], cfg)
	}
	return r, nil
}

// run is the analysis of one capture, packet by packet.
type run struct {
	r      *result
	truth  *truthFile
	labels map[uint64]kernelPacket
	score  fileScore
	kernel kernelScore
	counts map[end][2]int // retransmissions by us, by the kernel
}

// end is one end of a stream.
type end struct {
	stream uint32
	dir    string
}

func (r *result) file(truth *truthFile, labels map[uint64]kernelPacket, cfg analysis.Config) {
	x := run{r: r, truth: truth, labels: labels, counts: map[end][2]int{}}
	x.score.name, x.kernel.name = truth.name, truth.name
	cfg.OnEnd = x.conn
	a := analysis.New(cfg)
	cfg.OnEnd = nil
	if err := x.read(a); err != nil {
		x.score.err = err.Error()
	}
	a.Flush()
	for n := range truth.streams {
		r.streams.add(false)
		x.score.err += fmt.Sprintf(" stream %d missing", n)
	}
	r.files = append(r.files, x.score)
	if labels != nil {
		for _, n := range x.counts {
			r.connections.add(n[0] == n[1])
			x.kernel.connections.add(n[0] == n[1])
		}
		r.kernel = append(r.kernel, x.kernel)
	}
}

func (x *run) read(a *analysis.Analyzer) error {
	reader, err := capture.Open(x.truth.path, capture.ReadOptions{})
	if err != nil {
		return err
	}
	defer reader.Close()
	var (
		whole capture.Reassembler
		f     capture.Frame
		s     capture.Segment
		p     analysis.Packet
	)
	for {
		if err := reader.Next(&f); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if whole.Decode(&f, &s) != capture.TCP {
			continue
		}
		a.Add(&s, &p)
		if want, ok := x.truth.packets[f.Number]; ok {
			x.packet(f.Number, &s, &p, want)
		}
		if l, ok := x.labels[f.Number]; ok {
			x.label(&p, l)
		}
	}
}

// opened says who of a stream sent its first packet: a in the truth.
func opened(p *analysis.Packet) string {
	if p.Initiator == (p.Conn.Opener == analysis.Initiator) {
		return "a"
	}
	return "b"
}

func (x *run) packet(frame uint64, s *capture.Segment, p *analysis.Packet, want truthPacket) {
	r := x.r
	r.numbered.add(p.Stream == want.stream)
	x.score.streams.add(p.Stream == want.stream)
	r.dirs.add(opened(p) == want.dir)
	mask := analysis.Flags(want.mask)
	r.masks.add(p.Flags == mask)
	x.score.masks.add(p.Flags == mask)
	if p.Flags != mask {
		x.score.differences = append(x.score.differences, difference{frame: frame, got: p.Flags, want: mask})
	}
	for i := range r.flags {
		r.flags[i].add(p.Flags>>i&1 != 0, mask>>i&1 != 0)
	}
	if want.noLen || s.Info&capture.InICMP != 0 {
		return
	}
	r.flights.add(same(want.flight, float64(p.BytesInFlight), 0))
	r.ackRTTs.add(same(want.ackRTT, p.AckRTT.Seconds(), 2e-9))
	r.dups.add(same(want.dupAck, float64(p.DupAckNumber), 0))
}

// same compares a number of the truth, where absent is 0.
func same(want string, got, within float64) bool {
	if want == "" {
		return got == 0
	}
	v, err := strconv.ParseFloat(want, 64)
	return err == nil && math.Abs(v-got) <= within
}

func (x *run) label(p *analysis.Packet, l kernelPacket) {
	got := p.Verdict == analysis.VerdictRetransmission
	want := l.label == "retrans"
	e := end{l.stream, l.dir}
	if l.atSender {
		x.r.sender.add(got, want)
		x.kernel.sender.add(got, want)
		n := x.counts[e]
		if got {
			n[0]++
		}
		if want {
			n[1]++
		}
		x.counts[e] = n
	} else {
		x.r.far.add(got, want)
		x.kernel.far.add(got, want)
		x.r.farCopies.add(p.Verdict == analysis.VerdictNetworkDuplicate, l.copied)
	}
}

// conn compares a connection that ended.
func (x *run) conn(c *analysis.Conn) {
	want, ok := x.truth.streams[c.Stream]
	if !ok {
		x.score.err += fmt.Sprintf(" stream %d is none", c.Stream)
		x.r.streams.add(false)
		return
	}
	delete(x.truth.streams, c.Stream)
	if want.Ambiguous || want.InICMP > 0 || want.NoLen > 0 {
		return
	}
	a, b := &c.Sides[0], &c.Sides[1]
	if c.Opener == analysis.Responder {
		a, b = b, a
	}
	r := x.r
	r.streams.add(true)
	r.packets.add(a.Packets == want.A.Packets && b.Packets == want.B.Packets)
	r.bytes.add(a.WireBytes == want.A.Bytes && b.WireBytes == want.B.Bytes)
	r.payload.add(a.PayloadBytes == want.A.Payload && b.PayloadBytes == want.B.Payload)
	r.completeness.add(c.Completeness == want.Completeness)
	var rtt float64
	if want.InitialRTT != nil {
		rtt = *want.InitialRTT
	}
	r.initialRTT.add(math.Abs(rtt-float64(c.InitialRTT)/1e9) < 1e-6)
	for _, p := range [...]struct {
		got  *analysis.Side
		want *truthSide
	}{{a, &want.A}, {b, &want.B}} {
		if p.want.MSS != nil {
			r.mss.add(p.got.MSS == *p.want.MSS)
		}
		if p.want.MinWindow != nil { // the largest of the truth counts those of SYNs
			r.win.add(p.got.WindowMin == *p.want.MinWindow)
		}
	}
}
