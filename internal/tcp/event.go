package tcp

// EventType is what happened to a connection.
type EventType uint8

// Event types.
const (
	EventOpened EventType = iota + 1
	EventEstablished
	EventChanged
	EventRetransmit
	EventReset
	EventClosed
	// EventGap says that something was lost before this event; Conn is nil.
	EventGap
)

var eventNames = []string{"", "opened", "established", "changed", "retransmit", "reset", "closed", "gap"}

func (t EventType) String() string { return nameOf(eventNames, uint8(t)) }

// EventTypeNames lists the names of all event types.
func EventTypeNames() []string { return eventNames[1:] }

// ParseEventType finds an event type by its name.
func ParseEventType(s string) (EventType, bool) {
	for i, n := range eventNames {
		if i > 0 && n == s {
			return EventType(i), true
		}
	}
	return 0, false
}

// Event is one thing that happened. Seq counts the events of one tracker
// without holes: a reader that misses a number has lost an event.
type Event struct {
	Seq  uint64
	Time Stamp
	Type EventType
	Conn *Conn
	// By is the side that sent a reset.
	By  Side
	Gap *Gap
}

// Gap tells of loss: what is missing between the events around it.
type Gap struct {
	Loss
	Source SourceKind
	// Where names the hop that lost it: "ring", "netlink", "reader".
	Where string
	// Skipped is the events that this reader was too slow for.
	Skipped uint64
}

// Snapshot is every connection at one moment. It is immutable.
type Snapshot struct {
	Seq   uint64
	Time  Stamp
	Conns []*Conn
	Stats Stats
}

// Stats are a tracker's own counts. At every moment
// Opened = Closed + Open + Vanished.
type Stats struct {
	// Open counts connections, Listening listeners, Remnants mini-sockets and
	// HalfOpen request sockets.
	Open, Listening, Remnants, HalfOpen int
	// Opened, Established and Closed count connections over the tracker's life;
	// what was there before it counts as opened.
	Opened, Established, Closed uint64
	// Vanished counts connections that a dump no longer showed, whose close was
	// lost; they are also events of type closed, with Complete false.
	Vanished uint64
	// HalfOpenEvicted counts half-open connections dropped from the capped
	// table.
	HalfOpenEvicted uint64
	// Rejected counts connections not tracked because the table was full.
	Rejected uint64
	Lost     Loss
	// LostUnknown says that at some time more was lost than could be counted.
	Incomplete string
}
