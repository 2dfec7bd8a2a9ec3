package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// recorded reads a recording for export.
type recorded struct {
	ctx    context.Context //nolint:containedctx // of one command, whose calls it would follow everywhere
	e      env
	rec    *capture.Recording
	filter *filter.Filter
	packetTimes
	// ids, if there are any, are the connections that are wanted, instead of
	// those of the filter.
	ids []tcp.ID
	// past is history, which knows connections better than their packets do; nil
	// is none.
	past store.Querier
	// origin says in the file where the packets are from; empty is the directory
	// of the recording.
	origin string
}

// recordedPacket is a packet of a recording, with what the analysis says of it
// among those that are read with it.
type recordedPacket struct {
	frame capture.Frame
	seg   capture.Segment
	v     analysis.Packet
}

// recordedConn is a connection that is being read, with what the comments of its
// packets say about its ends: index 0 the sender of its first packet.
type recordedConn struct {
	tuple tcp.Tuple
	ends  [2]recordedEnd
}

type recordedEnd struct {
	known   bool
	id      tcp.ID
	process *tcp.Process
}

// chosenConn is a connection to export.
type chosenConn struct {
	recordedConn
	first, last int64
	stream      uint32
	texts       [2]string
}

// chosenConns finds them by tuple: either end's.
type chosenConns map[tcp.Tuple][]*chosenConn

// add takes a connection in.
func (m chosenConns) add(c *chosenConn) { m[c.tuple] = append(m[c.tuple], c) }

// of returns the connection that a packet belongs to, or nil. Those of the same
// tuple follow one another in time.
func (m chosenConns) of(s *capture.Segment, at int64) *chosenConn {
	for _, t := range [...]tcp.Tuple{s.Tuple, s.Tuple.Reverse()} {
		for _, c := range m[t] {
			if at >= c.first && at <= c.last {
				return c
			}
		}
	}
	return nil
}

func (m chosenConns) tuples() []tcp.Tuple {
	all := make([]tcp.Tuple, 0, len(m))
	for t := range m {
		all = append(all, t)
	}
	return all
}

// comment is what stands beside a packet in the exported file.
func (c *chosenConn) comment(s *capture.Segment, anonymous bool) string {
	if anonymous {
		return "viewtcp: connection " + strconv.FormatUint(uint64(c.stream), 10)
	}
	from := 0
	if s.Tuple != c.tuple {
		from = 1
	}
	if c.texts[from] == "" {
		b := c.ends[from].appendTo(nil)
		if to := c.ends[from^1].appendTo(nil); len(to) > 0 {
			if len(b) > 0 {
				b = append(b, "; to "...)
			}
			b = append(b, to...)
		}
		if len(b) == 0 {
			b = strconv.AppendUint(append(b, "connection "...), uint64(c.stream), 10)
		}
		c.texts[from] = "viewtcp: " + string(b)
	}
	return c.texts[from]
}

func (e *recordedEnd) appendTo(b []byte) []byte {
	if e.known {
		b = appendSocket(b, e.process, e.id)
	}
	return b
}

// endPattern is one end in a comment, as appendSocket writes it: the name of the
// process, its pid, the connection and the container.
const endPattern = `(?:process (.*?)(?: \(pid (\d+)\))?(?:, connection (c[0-9a-v]{13}))?(?:, container (.*?))?|connection (c[0-9a-v]{13}))`

var commentPattern = regexp.MustCompile(`^viewtcp: ` + endPattern + `(?:; to ` + endPattern + `)?$`)

// parseComment reads the ends that a recorded comment names: the sender's and the
// receiver's, or one of them without saying whose.
func parseComment(s string) (ends []recordedEnd) {
	m := commentPattern.FindStringSubmatch(s)
	if m == nil {
		return nil
	}
	for i := 1; i+4 < len(m); i += 5 {
		e := recordedEnd{}
		for _, text := range [2]string{m[i+2], m[i+4]} {
			if id, ok := tcp.ParseID(text); ok {
				e.id, e.known = id, true
			}
		}
		if m[i] != "" {
			pid, _ := strconv.ParseInt(m[i+1], 10, 32)
			e.process = &tcp.Process{ProcessID: tcp.ProcessID{PID: int32(pid)}, Name: m[i], Container: m[i+3]}
			e.known = true
		}
		if e.known {
			ends = append(ends, e)
		}
	}
	return ends
}

// learn takes over what a comment says of the ends.
func (c *recordedConn) learn(f *capture.Frame, s *capture.Segment) {
	if f.Comment == "" {
		return
	}
	ends := parseComment(f.Comment)
	from := 0
	if s.Tuple != c.tuple {
		from = 1
	}
	switch {
	case len(ends) == 2:
		c.ends[from], c.ends[from^1] = ends[0], ends[1]
	case len(ends) == 1 && f.Way == capture.WayIn:
		c.ends[from^1] = ends[0]
	case len(ends) == 1:
		c.ends[from] = ends[0]
	}
}

// query is what to read of the recording.
func (r *recorded) query(tuples []tcp.Tuple) capture.RecordQuery {
	return capture.RecordQuery{Tuples: tuples, From: r.from, To: r.to}
}

// each reads packets in the order of their times.
func (r *recorded) each(q capture.RecordQuery, do func(p *recordedPacket) error) error {
	return r.analyze(q, nil, do)
}

// analyze reads packets and analyses them on the way. ended is called with each
// connection, do with each packet, if they are not nil.
func (r *recorded) analyze(q capture.RecordQuery, ended func(a *analysis.Analyzer, c *analysis.Conn), do func(p *recordedPacket) error) (err error) {
	cfg := analysis.DefaultConfig()
	var a *analysis.Analyzer
	if ended != nil {
		cfg.OnEnd = func(c *analysis.Conn) { ended(a, c) }
	}
	a = analysis.New(cfg)
	found := r.rec.Find(q)
	defer func() { err = errors.Join(err, found.Close()) }()
	var p recordedPacket
	for n := 0; ; n++ {
		if n%checkEvery == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		err := found.Next(&p.frame)
		if errors.Is(err, io.EOF) {
			a.Flush()
			return nil
		}
		if err != nil {
			return err
		}
		if capture.Decode(&p.frame, &p.seg) != capture.TCP {
			continue
		}
		a.Add(&p.seg, &p.v)
		if err := do(&p); err != nil {
			return err
		}
	}
}

// choose finds the connections that are asked for.
func (r *recorded) choose() (chosenConns, error) {
	q := r.query(nil)
	past, err := r.fromPast()
	if err != nil {
		return nil, err
	}
	wanted := r.ids
	if id, ok := loneID(r.filter); ok && len(wanted) == 0 {
		wanted = []tcp.ID{id}
	}
	if len(wanted) > 0 {
		q.Tuples = past.tuples()
		for _, id := range wanted {
			if past.knows(id) {
				continue
			}
			tuples, err := r.tuplesOf(id)
			if err != nil {
				return nil, err
			}
			q.Tuples = append(q.Tuples, tuples...)
		}
		if len(q.Tuples) == 0 {
			return nil, nil //nolint:nilnil // none
		}
	} else if may := r.mayMatch(); may != nil {
		q.Match = func(t tcp.Tuple) bool { return may(t) || past.has(t) }
	}
	var (
		chosen  = make(chosenConns)
		reading = make(map[uint32]*recordedConn)
		match   = r.filter.Predicate()
		ids     = tcp.NewIDs("recording")
		asked   = r.filter.Fields(nil)
		known   = make([]bool, len(asked))
		rows    int
		row     tcp.Conn
	)
	if len(r.ids) > 0 {
		match = func(c *tcp.Conn) bool { return slices.Contains(r.ids, c.ID) }
	}
	look := func(row *tcp.Conn) bool {
		rows++
		for i, f := range asked {
			known[i] = known[i] || f.Known(row)
		}
		return match(row)
	}
	err = r.analyze(q, func(a *analysis.Analyzer, c *analysis.Conn) {
		rc := reading[c.Stream]
		delete(reading, c.Stream)
		if rc == nil {
			return
		}
		wanted, here := rc.recall(past, c.First, c.Last), false
		for i, end := range rc.ends {
			if !end.known {
				continue
			}
			here = true
			at := i
			if c.Tuple != rc.tuple {
				at = i ^ 1
			}
			a.FillEnd(c, at, ids, &row)
			row.Process = end.process
			if end.id != 0 {
				row.ID = end.id
			}
			wanted = look(&row) || wanted
		}
		if !here {
			a.Fill(c, ids, nil, &row)
			wanted = look(&row)
		}
		if wanted {
			chosen.add(&chosenConn{recordedConn: *rc, first: c.First, last: c.Last, stream: c.Stream})
		}
	}, func(p *recordedPacket) error {
		rc := reading[p.v.Stream]
		if rc == nil {
			rc = &recordedConn{tuple: p.seg.Tuple}
			reading[p.v.Stream] = rc
		}
		rc.learn(&p.frame, &p.seg)
		return nil
	})
	for i, f := range asked {
		if rows > 0 && !known[i] && err == nil && len(chosen) == 0 {
			r.e.warn("no recorded connection has a value of " + f.Name)
		}
	}
	return chosen, err
}

// loneID returns the id that a filter asks for, if it asks for nothing else.
func loneID(f *filter.Filter) (tcp.ID, bool) {
	c, ok := f.Node().(*filter.Compare)
	if !ok || c.Ref.Field == nil || c.Ref.Field.Name != "id" || c.Op != filter.Eq {
		return 0, false
	}
	return tcp.ID(c.Value.Num), true
}

// tuplesOf finds the addresses of a connection by its id, which stands in
// comments: first in the bytes of the files, and then in the packets of one that
// has it.
func (r *recorded) tuplesOf(id tcp.ID) ([]tcp.Tuple, error) {
	text := id.AppendTo(nil)
	for _, s := range r.rec.Segments() {
		if r.from != 0 && s.Last < r.from || r.to != 0 && s.First > r.to {
			continue
		}
		if err := r.ctx.Err(); err != nil {
			return nil, err
		}
		path := filepath.Join(r.rec.Dir(), s.Name)
		if s.Live {
			// It may have been sealed meanwhile.
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
				path = strings.TrimSuffix(path, ".part")
			}
		}
		has, err := fileHas(path, text)
		if errors.Is(err, os.ErrNotExist) {
			continue // it was too old, and was removed
		}
		if err != nil {
			return nil, fmt.Errorf("looking for %s: %w", text, err)
		}
		if !has {
			continue
		}
		if t, ok := tupleIn(path, id); ok {
			return []tcp.Tuple{t}, nil
		}
	}
	return nil, nil
}

// fileHas reports whether a file contains a text.
func fileHas(path string, text []byte) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := f.Read(buf[kept:])
		have := buf[:kept+n]
		if bytes.Contains(have, text) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		kept = copy(buf, have[max(len(have)-len(text)+1, 0):])
	}
}

// tupleIn finds a packet whose comment names a connection. What is wrong with the
// file has been told when the recording was opened.
func tupleIn(path string, id tcp.ID) (tcp.Tuple, bool) {
	rd, err := capture.Open(path, capture.ReadOptions{})
	if err != nil {
		return tcp.Tuple{}, false
	}
	defer rd.Close()
	var (
		f capture.Frame
		s capture.Segment
	)
	for rd.Next(&f) == nil {
		for _, e := range parseComment(f.Comment) {
			if e.id == id && capture.Decode(&f, &s) == capture.TCP {
				return s.Tuple, true
			}
		}
	}
	return tcp.Tuple{}, false
}

// mayMatch tells from the addresses alone which connections cannot meet the
// filter, so that the index passes over them; nil is none.
func (r *recorded) mayMatch() func(tcp.Tuple) bool {
	var tests []func(*tcp.Conn) bool
	terms := []filter.Node{r.filter.Node()}
	if and, ok := terms[0].(*filter.And); ok {
		terms = and.Nodes
	}
	for _, n := range terms {
		flags := false
		filter.Walk(n, func(m filter.Node) bool {
			_, is := m.(*filter.Flags)
			flags = flags || is
			return true
		})
		if _, all := n.(filter.All); all || flags || !filter.OnPacket(n) {
			continue
		}
		tests = append(tests, filter.PredicateOf(n))
	}
	if len(tests) == 0 {
		return nil
	}
	var c tcp.Conn
	holds := func(t tcp.Tuple) bool {
		c.Tuple, c.IPv6 = t, !t.Local.Is4()
		for _, test := range tests {
			if !test(&c) {
				return false
			}
		}
		return true
	}
	return func(t tcp.Tuple) bool { return holds(t) || holds(t.Reverse()) }
}
