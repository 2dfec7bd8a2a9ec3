package tui

import (
	"context"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// shownPackets is how many packets of a capture are kept for the screen.
const shownPackets = 200

// capturing is a capture of one connection's packets, at work or ended.
type capturing struct {
	id   tcp.ID
	stop context.CancelFunc

	mu      sync.Mutex
	packets []Packet // the last ones, guarded by mu
	count   uint64   // guarded by mu

	ended bool
	path  string
	err   error
}

func (p *capturing) active() bool { return p != nil && !p.ended }

// tell takes a packet; it is called by the capture's own goroutine.
func (p *capturing) tell(k Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count++
	if len(p.packets) >= 2*shownPackets {
		p.packets = append(p.packets[:0], p.packets[len(p.packets)-shownPackets:]...)
	}
	p.packets = append(p.packets, k)
}

func (p *capturing) take() (last []Packet, count uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(last, p.packets[max(len(p.packets)-shownPackets, 0):]...), p.count
}

// toggleCapture begins a capture of the connection in sight, or ends it.
func (m *Model) toggleCapture() tea.Cmd {
	switch {
	case m.cfg.Capture == nil:
		m.say(sWarn, "capturing packets is not possible here")
		return nil
	case m.capture.active():
		m.stopCapture()
		return nil
	case m.view != viewDetail:
		return nil
	}
	c := m.detail.row.conn
	if c.State == tcp.Listen {
		m.say(sWarn, "a listener has no packets of its own")
		return nil
	}
	ctx, stop := context.WithCancel(m.ctx)
	p := &capturing{id: c.ID, stop: stop}
	m.capture = p
	return tea.Batch(m.captureTick(), m.run(func(context.Context) func(*Model) {
		defer stop()
		path, err := m.cfg.Capture(ctx, c, p.tell)
		return func(m *Model) {
			p.ended, p.path, p.err = true, path, err
			switch {
			case err != nil:
				m.say(sBad, "capture: "+err.Error())
			case path != "":
				_, n := p.take()
				m.say(sGood, counted(n, "packet is", "packets are")+" in "+path)
			}
		}
	}))
}

// captureTick has the packets drawn while a capture goes on.
func (m *Model) captureTick() tea.Cmd {
	return tea.Tick(200*time.Millisecond, func(time.Time) tea.Msg {
		return captureMsg{}
	})
}

type captureMsg struct{}

func (m *Model) stopCapture() {
	if m.capture.active() {
		m.capture.stop()
	}
}

// packetLines is how many packets the detail view shows.
const packetLines = 12

// draw lists the last packets of the capture of the connection in sight.
func (p *capturing) draw(m *Model, c *canvas) {
	if p == nil || p.id != m.detail.id {
		return
	}
	last, n := p.take()
	title := "Packets (" + countText(n) + ")"
	if !p.ended {
		title += ", " + m.keys.label(actDetailCapture) + " stops"
	}
	heading(c, title)
	if len(last) > packetLines {
		last = last[len(last)-packetLines:]
	}
	for i := range last {
		drawPacket(c, &last[i])
	}
	if len(last) == 0 {
		c.str(sDim, "   none yet")
		c.end(sNormal)
	}
	if p.path != "" {
		c.str(sDim, "   file ")
		c.str(sBold, p.path)
		c.end(sNormal)
	}
}

func drawPacket(c *canvas, k *Packet) {
	c.str(sDim, "   "+time.Unix(0, k.Time).Format("15:04:05.000000")+"  ")
	if k.Sent {
		c.str(sSend, "→ ")
	} else {
		c.str(sReceive, "← ")
	}
	c.cell(sBold, k.Flags, 16, false)
	c.cell(sNormal, "len "+countText(uint64(k.Len)), 12, false)
	c.cell(sDim, "seq "+countText(uint64(k.Seq)), 18, false)
	c.cell(sDim, "ack "+countText(uint64(k.Ack)), 18, false)
	c.cell(sDim, "win "+countText(uint64(k.Window)), 13, false)
	c.str(sWarn, k.Notes)
	c.end(sNormal)
}
