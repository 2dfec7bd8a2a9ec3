package track

import "github.com/viewtcp/viewtcp/internal/tcp"

// kept are the values that a full record does not bring and that stay true.
const kept = tcp.HasHandshake | tcp.HasInode | tcp.HasCookie | tcp.HasUID |
	tcp.HasSendRate | tcp.HasReceiveRate | tcp.HasBytesMissed

// rateInterval is the shortest time that a rate is worked out over.
const rateInterval = 100_000_000 // ns

// merge brings an entry's conn up to what was observed.
func (t *Tracker) merge(b *tcp.Batch, e *entry, o *tcp.Observation) {
	c := t.write(e)
	if o.Key != c.Key || (c.Cookie == 0 && o.Cookie != 0) {
		// A local port was chosen, or a source with cookies took over; the id
		// stays.
		t.table.unindex(e)
		c.Key = o.Key
		if o.Cookie != 0 {
			c.Cookie = o.Cookie
		}
		t.table.index(e)
		if e.role == roleConn {
			t.link(e)
			c = t.write(e)
		}
	}
	c.Source = b.Source
	c.IPv6 = o.IPv6
	// An event may be handed over after a walk that knows better.
	if o.Time.Boot >= c.Updated.Boot || o.Kind == tcp.SeenClosed {
		c.Updated = o.Time
		c.State = o.State
		switch o.Kind {
		case tcp.Seen, tcp.SeenClosed:
			t.replaceMetrics(e, c, o)
		default:
			mergeMetrics(c, o)
		}
	}
	if o.Has&tcp.HasInode != 0 && o.Inode != 0 {
		c.Inode, c.Has = o.Inode, c.Has|tcp.HasInode
	}
	if o.Owner.CgroupID != 0 {
		c.CgroupID = o.Owner.CgroupID
	}
	if o.Has&tcp.HasUID != 0 {
		c.UID, c.Has = o.UID, c.Has|tcp.HasUID
	}
	if o.Cookie != 0 {
		c.Has |= tcp.HasCookie
	}
	if o.Has&tcp.HasHandshake != 0 {
		c.Handshake, c.Has = o.Handshake, c.Has|tcp.HasHandshake
	}
	if o.FirstFIN != tcp.SideUnknown {
		c.ClosedBy = o.FirstFIN
	}
	if o.Reset != tcp.SideUnknown {
		c.SawReset = true
	}
	process, direction := c.Process, c.Direction
	t.own(c, o)
	switch {
	case o.Direction != tcp.DirectionUnknown:
		c.Direction = o.Direction
	case o.State == tcp.Listen:
		c.Direction = tcp.Listening
	case c.Direction == tcp.DirectionUnknown && e.role == roleConn:
		c.Direction = t.infer(c)
	}
	if t.cfg.Names != nil && (c.Names == nil || c.Process != process || c.Direction != direction) {
		c.Names = t.cfg.Names(c)
	}
}

// own sets the process of a connection, unless a better attribution stands.
func (t *Tracker) own(c *tcp.Conn, o *tcp.Observation) {
	if o.Attribution == tcp.AttributionUnknown || o.Attribution < c.Attribution {
		if c.Process != nil {
			if p := t.processes.current(c.Process, t.now.Boot); p != nil {
				c.Process = p
			}
		}
		if c.Process == nil && o.Owner.Comm != (tcp.Comm{}) {
			c.Process = t.processes.get(o.Owner, t.now.Boot)
		}
		return
	}
	c.Attribution = o.Attribution
	c.Process = t.processes.get(o.Owner, t.now.Boot)
}

// replaceMetrics takes a full record whole: what a source no longer shows is
// unknown, not what it last was.
func (t *Tracker) replaceMetrics(e *entry, c *tcp.Conn, o *tcp.Observation) {
	sendRate, recvRate := c.Metrics.SendRate, c.Metrics.ReceiveRate
	c.Metrics = o.Metrics
	c.Metrics.SendRate, c.Metrics.ReceiveRate = sendRate, recvRate
	c.Has = o.Has | c.Has&kept
	if o.Has&tcp.HasBytesSent == 0 || o.Has&tcp.HasBytesReceived == 0 {
		c.Has &^= tcp.HasSendRate | tcp.HasReceiveRate
		e.rateTime, e.rated, e.moving = 0, false, false
		return
	}
	dt := o.Time.Boot - e.rateTime
	switch {
	case e.rateTime == 0:
	case dt < rateInterval:
		return
	case o.Metrics.BytesSent >= e.rateSent && o.Metrics.BytesReceived >= e.rateRecv:
		c.Metrics.SendRate = perSecond(o.Metrics.BytesSent-e.rateSent, dt)
		c.Metrics.ReceiveRate = perSecond(o.Metrics.BytesReceived-e.rateRecv, dt)
		c.Has |= tcp.HasSendRate | tcp.HasReceiveRate
		e.rated, e.moving = true, c.Metrics.SendRate|c.Metrics.ReceiveRate != 0
	}
	e.rateTime, e.rateSent, e.rateRecv = o.Time.Boot, o.Metrics.BytesSent, o.Metrics.BytesReceived
}

func perSecond(n uint64, ns int64) uint64 { return uint64(float64(n) / (float64(ns) / 1e9)) }

// mergeMetrics takes over the few values that a compact record brings.
func mergeMetrics(c *tcp.Conn, o *tcp.Observation) {
	m, from := &c.Metrics, &o.Metrics
	if o.Has&tcp.HasRetransmits != 0 {
		m.Retransmits = from.Retransmits
	}
	if o.Has&tcp.HasBacklog != 0 {
		m.Backlog = from.Backlog
	}
	if o.Has&tcp.HasAcceptQueue != 0 {
		m.AcceptQueue = from.AcceptQueue
	}
	c.Has |= o.Has & (tcp.HasRetransmits | tcp.HasBacklog | tcp.HasAcceptQueue)
}
