package track

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// endPass draws the conclusions of a walk over all sockets: what it did not
// show is gone.
func (t *Tracker) endPass(b *tcp.Batch) {
	p := &b.Pass
	full := p.Kind == tcp.PassFull
	everywhere := full && p.AllNamespaces
	t.stats.Incomplete = p.Incomplete
	first := make(map[uint32]bool)
	covered := make(map[uint32]bool, len(p.Namespaces))
	for _, ns := range p.Namespaces {
		covered[ns] = true
		if full && !t.passed[ns] {
			t.passed[ns] = true
			first[ns] = true
		}
	}
	followed := 0
	// Backwards, because remove fills a hole with the last entry.
	for _, e := range slices.Backward(t.table.entries) {
		t.settle(b, e, first)
		mini := e.role == roleHalfOpen || e.role == roleRemnant
		if p.Sockets > 0 && !mini && e.notBefore < p.Begin.Boot && covered[e.netns] {
			followed++
		}
		switch {
		case e.missed:
			// A full pass did not show it, and nothing was heard of it since.
			t.vanish(e)
		case mini && !p.Minis, !mini && !full, e.seenPass == p.Begin.Boot, e.notBefore >= p.Begin.Boot, p.Incomplete != "":
		case !covered[e.netns] && !everywhere:
		case mini:
			t.remove(e)
		default:
			// Its close may still be on its way: wait for one more pass.
			e.missed = true
		}
	}
	if p.Incomplete == "" && p.Minis {
		t.tombs.expire(p.Begin.Boot, func(ns uint32) bool {
			return covered[ns] || everywhere
		})
	}
	t.processes.expire(t.now.Boot)
	t.compare(b, followed)
}

// compare asks for a full pass when two passes in a row walked fewer sockets
// than are followed: some closed and nothing told of it.
func (t *Tracker) compare(b *tcp.Batch, followed int) {
	if b.Pass.Kind != tcp.PassDelta || followed <= b.Pass.Sockets || b.Pass.Sockets == 0 {
		t.excess = false
		return
	}
	if t.excess && b.Resync != nil {
		b.Resync()
	}
	t.excess = !t.excess
}

// vanish ends an entry whose close was not seen.
func (t *Tracker) vanish(e *entry) {
	if e.role != roleConn {
		t.remove(e)
		return
	}
	c := t.write(e)
	c.State, c.Closed, c.Complete = tcp.Closed, t.now, false
	t.close(e, true)
}

// settle finishes what one observation alone could not tell.
func (t *Tracker) settle(b *tcp.Batch, e *entry, first map[uint32]bool) {
	if e.role != roleConn {
		return
	}
	// Listeners may have come after their connections in a first dump.
	if len(first) > 0 && e.conn.Direction == tcp.DirectionUnknown && first[e.conn.NetNS] {
		if d := t.infer(e.conn); d != tcp.DirectionUnknown {
			c := t.write(e)
			c.Direction = d
			if t.cfg.Names != nil {
				c.Names = t.cfg.Names(c)
			}
		}
	}
	t.settleRate(b, e)
}

// settleRate sets the rates of a connection that the pass left out because it
// did not change: nothing was transferred.
func (t *Tracker) settleRate(b *tcp.Batch, e *entry) {
	quiet := b.Pass.Kind == tcp.PassDelta && e.rateTime != 0 && e.seenPass != b.Pass.Begin.Boot &&
		b.Pass.Begin.Boot-e.rateTime > rateInterval && e.notBefore < b.Pass.Begin.Boot
	if !quiet || (e.rated && !e.moving) {
		return
	}
	c := t.write(e)
	c.Metrics.SendRate, c.Metrics.ReceiveRate = 0, 0
	c.Has |= tcp.HasSendRate | tcp.HasReceiveRate
	e.moving, e.rated = false, true
}
