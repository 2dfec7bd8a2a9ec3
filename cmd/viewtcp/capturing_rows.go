package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

// follow looks for the sockets of the host in the background. The returned
// function ends it.
func (p *capturing) follow() (end func() error) {
	if p.c.noProcess {
		p.ready("")
		return func() error { return nil }
	}
	c := p.c.common
	c.netns = "all" // packets of a bridge belong to sockets elsewhere
	l := newLook(p.e, &c)
	p.join.begun = time.Now().UnixNano()
	followed := make(chan struct{})
	following := false
	l.started = func(t *track.Tracker) {
		t.RememberClosed(rememberClosed)
		p.join.tracker.Store(t)
		if p.conns == nil || following {
			return
		}
		following = true
		sub := t.Subscribe(readerBuffer)
		go func() {
			defer close(followed)
			defer sub.Close()
			p.followCloses(sub)
		}()
	}
	l.ready = func(src tcp.SourceKind) {
		if !p.join.known.Swap(true) {
			p.ready(src.String())
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := l.feed(ctx, tcp.Source.Run)
		if err != nil && ctx.Err() == nil {
			p.e.warn("packets have no processes from here on: " + err.Error())
		}
		if !p.join.known.Swap(true) {
			p.ready("")
		}
		ended <- nil
	}()
	return func() error {
		if p.conns != nil {
			time.Sleep(lastEvents) // the closes of what has just ended
		}
		stop()
		err := <-ended
		if following {
			l.tracker.End()
			<-followed
		}
		return err
	}
}

// ready says that packets are captured and, if source is not empty, find their
// processes.
func (p *capturing) ready(source string) {
	s := "capturing on "
	for i, at := range p.spaces[0].live.Interfaces() {
		if i > 0 {
			s += ", "
		}
		s += at.Name + " (" + at.Link.String() + ")"
		if !at.Up {
			s += ", which is down,"
		}
	}
	if n := len(p.spaces); n > 1 {
		s += " of " + strconv.Itoa(n) + " network namespaces"
	}
	if source != "" {
		s += ", processes from " + source
	}
	p.e.warn(s)
}

// followCloses keeps the final values of connections that were captured.
func (p *capturing) followCloses(sub tcp.Subscription) {
	var events []tcp.Event
	for {
		var err error
		events, err = sub.Next(context.Background(), events[:0])
		p.mu.Lock()
		for i := range events {
			c := events[i].Conn
			if events[i].Type != tcp.EventClosed || c == nil {
				continue
			}
			if j := p.byID[c.ID]; j != nil {
				for k := range j.ends {
					if j.ends[k] != nil && j.ends[k].ID == c.ID {
						j.ends[k] = c
					}
				}
			}
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// row is the connection of an end, with what its socket and its packets show. It
// may be some time old. p.mu is held.
func (p *capturing) row(j *joined, i int, now int64) *tcp.Conn {
	if r := j.rows[i]; r != nil && now-j.rowTime[i] < int64(rowEvery) {
		return r
	}
	if j.conn == nil {
		return j.rows[i] // the analysis has let go of it
	}
	j.rows[i], j.rowTime[i] = p.makeRow(j, i, j.conn), now
	return j.rows[i]
}

// rowEvery is how old the connection may be that a filter looks at.
const rowEvery = 250 * time.Millisecond

// makeRow joins the socket of an end, if there is one, with the analysis.
func (p *capturing) makeRow(j *joined, i int, c *analysis.Conn) *tcp.Conn {
	row := new(tcp.Conn)
	socket := j.ends[i]
	if socket == nil {
		j.space.analyzer.Fill(c, p.ids, p.local, row)
		if proc := j.process(i); proc != nil {
			row.Process = proc
		}
	} else {
		at := i
		if c.Tuple != j.tuple { // the other end turned out to be the initiator
			at = i ^ 1
		}
		j.space.analyzer.FillEnd(c, at, p.ids, row)
	}
	names := tcp.Names{}
	if row.Names != nil {
		names = *row.Names
	}
	row.Packets.Stream = j.number
	if socket != nil {
		wire := names
		joint := *socket
		joint.Packets = row.Packets
		joint.SawReset = socket.SawReset || row.SawReset
		if socket.Names != nil {
			names = *socket.Names
		}
		names.SNI, names.ALPN, names.HTTPHost = wire.SNI, wire.ALPN, wire.HTTPHost
		*row = joint
	}
	names.Interface = j.iface
	if names.Host == "" {
		names.Host = p.host
	}
	row.Names = &names
	return row
}

// ended takes leave of a connection that the analysis lets go of. p.mu is held.
func (p *capturing) ended(s *space, c *analysis.Conn) {
	j := s.joined[c.Stream]
	if j == nil {
		return
	}
	delete(s.joined, c.Stream)
	if s.last == j {
		s.last = nil
	}
	if p.conns != nil && j.wanted && c.Sides[0].Packets+c.Sides[1].Packets > 0 {
		now := time.Now().UnixNano()
		if !p.c.noProcess {
			j.looked = 0
			p.join.look(j, c.Last, now)
		}
		here := false
		for i := range j.ends {
			if j.ends[i] != nil {
				here = true
				p.conns.add(p.makeRow(j, i, c))
			}
		}
		if !here {
			p.conns.add(p.makeRow(j, 0, c))
		}
	}
	for _, e := range j.ends {
		if e != nil && p.byID[e.ID] == j {
			delete(p.byID, e.ID)
		}
	}
	// Packets that still wait are judged by what is known now.
	for i := range j.rows {
		if p.needsConn && j.rows[i] == nil && p.queue.len() > 0 {
			j.rows[i] = p.makeRow(j, i, c)
		}
	}
	j.conn = nil
}

// loopback reports whether the frame at hand came by an interface that leads back
// to this host.
func (p *capturing) loopback(s *space) bool {
	at := s.live.Interfaces()[s.frame.Interface]
	if at.Index != 0 || s.frame.Link != capture.LinkLinuxSLL2 || len(s.frame.Data) < 20 {
		return at.Loopback
	}
	b := s.frame.Data
	return int(b[8])<<8|int(b[9]) == arphrdLoopback
}

// arphrdLoopback is ARPHRD_LOOPBACK of include/uapi/linux/if_arp.h, which a header
// of LINKTYPE_LINUX_SLL2 holds.
const arphrdLoopback = 772

// interfaceName is where the frame at hand was captured.
func (p *capturing) interfaceName(s *space) string {
	at := s.live.Interfaces()[s.frame.Interface]
	if at.Index != 0 || s.frame.Link != capture.LinkLinuxSLL2 || len(s.frame.Data) < 20 {
		return at.Name
	}
	b := s.frame.Data
	index := uint32(b[4])<<24 | uint32(b[5])<<16 | uint32(b[6])<<8 | uint32(b[7])
	name, ok := s.names[index]
	if !ok {
		find := func() {
			if i, err := net.InterfaceByIndex(int(index)); err == nil {
				name = i.Name
			}
		}
		if do := s.do(); do == nil {
			find()
		} else if do(find) != nil {
			name = ""
		}
		s.names[index] = name
	}
	return name
}

// endedConns prints connections as they end.
type endedConns struct {
	c       *common
	out     io.Writer
	match   func(*tcp.Conn) bool
	dns     *resolver
	json    *output.JSON
	csv     *output.CSV
	line    *output.EventLine
	buf     []byte
	printed int
}

// connectionColumns are those of the lines of ended connections.
func connectionColumns() []output.Column {
	var cs []output.Column
	for _, n := range []string{
		"local", "remote", "pid", "process", "bytes_sent", "bytes_received", "packets_sent", "packets_received",
		"rtt_us", "initial_rtt_us", "retransmits", "conn_state", "close_reason",
	} {
		if c, ok := output.ColumnByName(n); ok {
			cs = append(cs, c)
		}
	}
	return cs
}

func newEndedConns(e env, c *common, match func(*tcp.Conn) bool) (*endedConns, error) {
	w := &endedConns{c: c, out: e.stdout, match: match, dns: newResolver(c)}
	switch c.format {
	case formatTable, formatWide:
		usual := connectionColumns()
		if c.format == formatWide {
			usual = append(usual, output.WideColumns()...)
		}
		cols, err := c.tableColumns(usual)
		if err != nil {
			return nil, err
		}
		w.line = &output.EventLine{Columns: cols, Color: c.useColor(e.stdout)}
		if !c.noHeader {
			w.buf = w.line.AppendHeader(w.buf)
		}
		return w, nil
	}
	fields, err := c.fields()
	if err != nil {
		return nil, err
	}
	switch c.format {
	case formatCSV:
		w.csv = output.NewCSV(fields)
		if !c.noHeader {
			w.buf = w.csv.AppendHeader(w.buf)
		}
	case formatJSON:
		w.buf = append(w.buf, '[')
		w.json = output.NewJSON(fields)
	default:
		w.json = output.NewJSON(fields)
	}
	return w, nil
}

func (w *endedConns) add(c *tcp.Conn) {
	if !w.match(c) {
		return
	}
	c = w.dns.name(c)
	switch {
	case w.line != nil:
		e := tcp.Event{Time: c.Closed, Type: tcp.EventClosed, Conn: c}
		if c.Closed.IsZero() {
			e.Time, e.Type = c.Updated, tcp.EventChanged
		}
		w.buf = w.line.Append(w.buf, &e)
	case w.csv != nil:
		w.buf = w.csv.AppendConn(w.buf, c)
	case w.c.format == formatJSON:
		if w.printed > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = w.json.AppendConn(append(w.buf, '\n'), c)
	default:
		w.buf = append(w.json.AppendConn(w.buf, c), '\n')
	}
	w.printed++
}

func (w *endedConns) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.out.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// end finishes the list.
func (w *endedConns) end() error {
	w.dns.close()
	if w.c.format == formatJSON {
		if w.printed > 0 {
			w.buf = append(w.buf, '\n')
		}
		w.buf = append(w.buf, "]\n"...)
	}
	return w.flush()
}

// openOutputs prepares file and text.
func (p *capturing) openOutputs(ctx context.Context) error {
	p.host = hostname()
	if p.c.write != "" {
		file, err := newCaptureOutput(ctx, p)
		if err != nil {
			return err
		}
		p.file = file
	}
	if p.c.record.dir != "" {
		if err := p.openRecorder(); err != nil {
			return err
		}
	}
	switch {
	case p.c.connections:
		conns, err := newEndedConns(p.e, &p.c.common, p.filter.Predicate())
		p.conns = conns
		return err
	case p.c.write == "" && p.recorder == nil || p.c.outputAsked:
		p.text = &packetList{
			out: p.e.stdout, format: p.c.format, header: !p.c.noHeader, color: p.c.useColor(p.e.stdout), live: !p.c.noProcess,
		}
	}
	return nil
}

// end finishes the output.
func (p *capturing) end() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.spaces {
		if s.analyzer != nil {
			s.analyzer.Flush()
		}
	}
	var errs []error
	if p.file != nil {
		errs = append(errs, p.file.end(time.Now().UnixNano()))
	}
	if p.text != nil && p.text.err == nil {
		errs = append(errs, p.text.finish())
	}
	if p.conns != nil {
		errs = append(errs, p.conns.end())
	}
	if p.recorder != nil {
		errs = append(errs, p.recorder.Close())
	}
	return errors.Join(errs...)
}
