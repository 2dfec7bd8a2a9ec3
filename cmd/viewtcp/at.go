package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/moment"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// listAt prints the connections as they were at a moment, from history.
func listAt(ctx context.Context, e env, c *common, d *daemonFlags, at string, args []string) error {
	return listThen(ctx, e, c, d, at, args, time.Now())
}

// listThen is listAt of a time that counts from now.
func listThen(ctx context.Context, e env, c *common, d *daemonFlags, at string, args []string, now time.Time) error {
	t, err := moment.At(at, now)
	if err != nil {
		return usagef("--at: %w", err)
	}
	if t.After(now) {
		return usagef("--at %s is %s, which is still to come", at, momentText(t))
	}
	f, err := c.parseFilter(args, filter.Options{Now: t, Services: filter.SystemServices()})
	if err != nil {
		return err
	}
	p, err := newPrinter(e, c)
	if err != nil {
		return err
	}
	h, err := openHistory(ctx, e, d)
	if err != nil {
		return err
	}
	defer h.end()
	then, err := h.openAt(ctx, c, t)
	if err != nil {
		return h.interrupted(ctx, err)
	}
	h.progress.stop()
	dns := newResolver(c)
	defer dns.close()
	conns := dns.choose(ctx, then.conns, f)
	p.sort(conns)
	if c.limit > 0 && len(conns) > c.limit {
		conns = conns[:c.limit]
	}
	if err := p.print(conns); err != nil {
		return err
	}
	for _, line := range then.tell(h, t, conns) {
		e.warn(line)
	}
	if c.failEmpty && len(conns) == 0 {
		return exitError{exitEmpty}
	}
	return nil
}

// A past is what is known of a moment.
type past struct {
	conns  []*tcp.Conn
	answer *store.Answer
	// of is the time of the row that a connection's values are of; those of which
	// only a later row tells are missing.
	of map[tcp.ID]int64
}

const (
	// rowsApart is the most time between rows of a connection that moves data.
	rowsApart = 10 * time.Minute
	// mostMoments is how many times of rows are looked up one by one.
	mostMoments = 64
)

// openAt finds the connections that were open at a moment, with the values of
// their newest row up to then.
func (h *historian) openAt(ctx context.Context, c *common, t time.Time) (*past, error) {
	p := &past{of: make(map[tcp.ID]int64)}
	index := make(map[tcp.ID]int)
	known := make(map[tcp.ID]int64) // rows to look up
	at := t.UnixNano()
	var err error
	q := store.Query{From: t, To: t.Add(1)}
	p.answer, err = h.Connections(ctx, &q, func(r *store.Record) error {
		h.progress.row()
		index[r.Conn.ID] = len(p.conns)
		p.conns = append(p.conns, keptConn(c, r))
		known[r.Conn.ID] = r.Time
		return nil
	})
	if err != nil {
		return nil, err
	}
	take := func(from, to int64) error {
		q := store.Query{From: time.Unix(0, from), To: time.Unix(0, to)}
		_, err := h.Records(ctx, &q, func(r *store.Record) error {
			h.progress.row()
			i, ok := index[r.Conn.ID]
			if ok && r.Kind == store.Snapshot && r.Time <= at && r.Time >= p.of[r.Conn.ID] {
				p.of[r.Conn.ID] = r.Time
				p.conns[i] = keptConn(c, r)
			}
			return nil
		})
		return err
	}
	if err := take(at-int64(rowsApart), at+1); err != nil {
		return nil, err
	}
	// Connections that had not moved data for a while.
	var moments []int64
	for id, row := range known {
		if p.of[id] == 0 && row < at-int64(rowsApart) {
			moments = append(moments, row)
		}
	}
	slices.Sort(moments)
	moments = slices.Compact(moments)
	if len(moments) > mostMoments {
		return p, take(moments[0], moments[len(moments)-1]+1)
	}
	for _, m := range moments {
		if err := take(m, m+1); err != nil {
			return nil, err
		}
	}
	for i, conn := range p.conns {
		if p.of[conn.ID] == 0 {
			p.conns[i] = onlyOpen(conn, at)
		}
	}
	return p, nil
}

// onlyOpen is a connection of which only a later row tells: that it was open, and
// what of it did not change.
func onlyOpen(later *tcp.Conn, at int64) *tcp.Conn {
	c := *later
	c.State, c.Reason, c.ClosedBy, c.SawReset = tcp.StateUnknown, tcp.CloseUnknown, tcp.SideUnknown, false
	c.Closed, c.Packets = tcp.Stamp{}, nil
	established := c.Opened.Wall + int64(c.Handshake)*1000
	switch {
	case c.Has&tcp.HasHandshake == 0 || c.Opened.Wall == 0 || !c.OpenedExact:
	case at < established && c.Direction == tcp.Outbound:
		c.State = tcp.SynSent
	}
	c.Has &= tcp.HasUID | tcp.HasCookie | tcp.HasHandshake
	c.Metrics = tcp.Metrics{}
	if c.Opened.Wall != 0 {
		c.Updated = c.Opened.Add(time.Duration(max(at-c.Opened.Wall, 0)))
	}
	return &c
}

// tell says how far the list can be trusted.
func (p *past) tell(h *historian, t time.Time, shown []*tcp.Conn) []string {
	var lines []string
	if len(p.conns) == 0 && (p.answer.Retained == 0 || p.answer.Retained > t.UnixNano()) {
		lines = append(lines, "nothing is stored in "+h.where+" of "+momentText(t))
	}
	unknown, oldest := 0, int64(0)
	for _, c := range shown {
		of := p.of[c.ID]
		switch {
		case of == 0:
			unknown++
		case oldest == 0 || of < oldest:
			oldest = of
		}
	}
	text := fmt.Sprintf("%s open at %s", counted(len(shown), "connections"), momentText(t))
	if oldest != 0 {
		text += fmt.Sprintf("; values are of the newest row of each until then, the oldest %s before",
			lengthText(t.Sub(time.Unix(0, oldest))))
	}
	lines = append(lines, text)
	if unknown > 0 {
		lines = append(lines, fmt.Sprintf("of %d of them only a later row tells: that they were open, not how they did then", unknown))
	}
	for _, g := range p.answer.Gaps {
		lines = append(lines, "at that time there was a gap: "+g.Reason)
	}
	return lines
}
