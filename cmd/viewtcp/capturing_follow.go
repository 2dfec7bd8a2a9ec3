package main

import (
	"context"
	"strconv"
	"strings"
	"time"

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
	var names []string
	for _, at := range p.spaces[0].live.Interfaces() {
		name := at.Name + " (" + at.Link.String() + ")"
		if !at.Up {
			name += ", which is down,"
		}
		names = append(names, name)
	}
	s := "capturing on " + strings.Join(names, ", ")
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
