package main

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

const (
	// holdFor is how old a packet may grow until its connection is known: the
	// source tells of a new socket within some 40 ms.
	holdFor = 100 * time.Millisecond
	// holdLong is how old one may grow where there is a socket for certain, which
	// sent it, and holdLongest as long as the source has not told of that time: on
	// a machine without a moment to spare it is late.
	holdLong    = 500 * time.Millisecond
	holdLongest = 5 * time.Second
	// sourceStart is how long packets are held while the source loads.
	sourceStart = 3 * time.Second
	// freshFor is how near to its SYN a socket must have been opened to be
	// believed at once. An older one may be the last user of the tuple, of whose
	// end the source has not told yet.
	freshFor = 50 * time.Millisecond
	// lookAgain is the time between two looks at the socket of a connection,
	// lookSoon that while it is not known.
	lookAgain = time.Second
	lookSoon  = 2 * time.Millisecond
	// rememberClosed is how long after its close a socket is found.
	rememberClosed = 30 * time.Second
)

// joiner finds the sockets of connections seen on the wire.
type joiner struct {
	// tracker is replaced when a source fails and the next one starts.
	tracker atomic.Pointer[track.Tracker]
	// begun is when the source started; known that its first pass has ended, so
	// that every socket is.
	begun int64
	known atomic.Bool
}

// joined is a connection on the wire with its sockets on this host: of none, one
// or both of its ends.
type joined struct {
	space *space
	// stream is the number of the analysis, number that of the whole capture:
	// each namespace has an analysis of its own.
	stream, number uint32
	// tuple has as Local the end that was taken for the initiator when the first
	// packet came.
	tuple tcp.Tuple
	// first is the time of the first packet, syn that it opened the connection.
	first int64
	syn   bool
	// looped says that both ends are on this host, sent that the first end is.
	looped, sent bool
	// ends are the sockets: index 0 that of tuple.Local. owner is the process
	// behind the port where there is no socket yet: that of the listener.
	ends  [2]*tcp.Conn
	owner [2]*tcp.Process
	// settled says that nothing is waited for any more.
	settled bool
	// looked is when the sockets were last looked for.
	looked int64
	// comments are the texts beside packets, by who sent them; "" not made yet.
	comments [2]string
	// told and recorded are when a comment was last written to the file and to
	// the recording.
	told, recorded int64
	// iface is the interface of the first packet.
	iface string
	// conn is the analysis of it; nil when that has let go of it.
	conn *analysis.Conn
	// rows are the connections of the two ends as of rowTime, for filters.
	rows    [2]*tcp.Conn
	rowTime [2]int64
}

// side returns the index of the end that sent a segment.
func (j *joined) side(t *tcp.Tuple) int {
	if *t == j.tuple {
		return 0
	}
	return 1
}

// look brings what is known of the sockets up to date, if it is time. now is
// nanoseconds since 1970, at the time of the packet at hand.
func (n *joiner) look(j *joined, at, now int64) {
	t := n.tracker.Load()
	age := now - j.first
	if j.looked != 0 {
		if since := now - j.looked; since >= 0 && since < int64(j.lookAfter(age)) {
			return
		}
	}
	j.looked = now
	// A clock that was set back must not make packets wait.
	patient := age > -int64(time.Second) && age < n.patience(t, j)
	if t == nil {
		j.settled = j.settled || !patient && !n.starting(now)
		return
	}
	if j.syn {
		at = j.first
	}
	changed := false
	for i := range j.ends {
		tuple := j.tuple
		if i == 1 {
			tuple = tuple.Reverse()
		}
		c := n.socket(t, j, tuple, at, patient)
		if c != nil && c != j.ends[i] {
			changed = changed || j.ends[i] == nil || j.ends[i].Process != c.Process
			j.ends[i] = c
		}
	}
	if !patient {
		for i := range j.ends {
			changed = n.listener(t, j, i) || changed
		}
	}
	if changed {
		j.comments = [2]string{}
	}
	j.settled = j.settled || j.complete() || !patient && !n.starting(now)
}

// patience is how old the first packet of a connection may grow until the
// connection is taken for one without sockets, nanoseconds.
func (n *joiner) patience(t *track.Tracker, j *joined) int64 {
	switch {
	case !j.sent || j.complete():
		return int64(holdFor)
	case t != nil && t.HeardUntil().Wall < j.first+int64(holdFor):
		if j.ends[0] == nil {
			return int64(holdLongest)
		}
		return int64(holdLong) // an attempt that was refused has one end only
	case j.ends[0] == nil:
		return int64(holdLong)
	default:
		return int64(holdFor)
	}
}

// lookAfter is the time until the sockets are looked for again: soon while packets
// wait for them, and rarer and rarer afterwards.
func (j *joined) lookAfter(age int64) time.Duration {
	switch {
	case !j.settled:
		return lookSoon
	case j.complete() || age > int64(10*lookAgain):
		return lookAgain
	case age > int64(lookAgain):
		return lookAgain / 10
	default:
		return 10 * lookSoon
	}
}

// socket finds the socket of one end.
func (n *joiner) socket(t *track.Tracker, j *joined, tuple tcp.Tuple, at int64, patient bool) *tcp.Conn {
	c := t.LookupAt(tuple, j.space.netns.Inode, at)
	if c == nil && !tuple.Local.IsLoopback() {
		// A bridge or a veth end here carries the packets of other namespaces.
		c = t.LookupAt(tuple, 0, at)
	}
	if c == nil {
		return nil
	}
	if j.syn {
		if !c.Closed.IsZero() && c.Closed.Wall < j.first-int64(time.Millisecond) {
			return nil // it had the tuple before
		}
		fresh := c.OpenedExact && max(j.first-c.Opened.Wall, c.Opened.Wall-j.first) < int64(freshFor)
		if patient && !fresh {
			return nil
		}
	}
	return c
}

// listener finds the process that listens where a connection attempt goes; it
// reports whether that is news.
func (n *joiner) listener(t *track.Tracker, j *joined, i int) bool {
	if i == 0 || !j.syn || j.ends[i] != nil || j.owner[i] != nil {
		return false
	}
	if c := t.Listener(j.tuple.Remote, j.tuple.RemotePort, j.space.netns.Inode); c != nil {
		j.owner[i] = c.Process
	}
	return j.owner[i] != nil
}

// complete reports whether all that can be expected is known.
func (j *joined) complete() bool {
	known := 0
	for _, c := range j.ends {
		if c != nil && c.Process != nil {
			known++
		}
	}
	return known == 2 || known == 1 && !j.looped
}

// starting reports whether the source may still find sockets that are there
// already.
func (n *joiner) starting(now int64) bool {
	return !n.known.Load() && now-n.begun < int64(sourceStart)
}

// process is who owns an end, if that is known.
func (j *joined) process(i int) *tcp.Process {
	if c := j.ends[i]; c != nil && c.Process != nil {
		return c.Process
	}
	return j.owner[i]
}

// end is what is known of an end, for text.
func (j *joined) end(i int) packetEnd {
	e := packetEnd{process: j.process(i)}
	if c := j.ends[i]; c != nil {
		e.id = c.ID
	}
	return e
}

// comment is what stands beside the packets that an end sent: its process and
// connection, and those of the other end if that is on this host too.
func (j *joined) comment(from int) string {
	if s := j.comments[from]; s != "" {
		return s
	}
	b := j.appendEnd(nil, from)
	if to := j.appendEnd(nil, from^1); len(to) > 0 {
		if len(b) > 0 {
			b = append(b, "; to "...)
		}
		b = append(b, to...)
	}
	if len(b) == 0 {
		return ""
	}
	j.comments[from] = "viewtcp: " + string(b)
	return j.comments[from]
}

// appendEnd names one end of a connection.
func (j *joined) appendEnd(b []byte, i int) []byte {
	id := tcp.ID(0)
	if c := j.ends[i]; c != nil {
		id = c.ID
	}
	return appendSocket(b, j.process(i), id)
}

// appendSocket names one end: process curl (pid 4242), connection c…, container ….
func appendSocket(b []byte, p *tcp.Process, id tcp.ID) []byte {
	if p != nil {
		b = output.AppendClean(append(b, "process "...), p.Name)
		if p.PID != 0 {
			b = append(strconv.AppendInt(append(b, " (pid "...), int64(p.PID), 10), ')')
		}
	}
	if id != 0 {
		if p != nil {
			b = append(b, ", "...)
		}
		b = id.AppendTo(append(b, "connection "...))
	}
	if p != nil && p.Container != "" {
		b = output.AppendClean(append(b, ", container "...), p.Container)
	}
	return b
}
