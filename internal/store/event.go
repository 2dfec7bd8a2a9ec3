package store

import "github.com/viewtcp/viewtcp/internal/tcp"

// Types of stored events besides those of tcp.EventType.
const (
	// EventMark is a note that somebody put on the timeline.
	EventMark = "mark"
	// EventObserver says that observation began (Text "start") or ended
	// ("stop").
	EventObserver = "observer"
)

// Event is something that happened at a time, to a connection or to the
// observation itself. Openings and closes are not stored as events: the
// connection's rows tell of them.
type Event struct {
	// Time is nanoseconds since 1970 UTC. Since, if not 0, says that the event is
	// about the time from Since to Time.
	Time, Since int64
	// Type is the name of a tcp.EventType, EventMark, EventObserver, or one that
	// an engine keeps without knowing it.
	Type string
	ID   tcp.ID
	Host string
	// By is the side that sent a reset.
	By string
	// Count is how many of the kind were taken together.
	Count uint64
	// Source and Where name who lost what a gap tells of; Closes, BytesSent and
	// BytesReceived are what was lost as far as it could be counted.
	Source, Where                    string
	Closes, BytesSent, BytesReceived uint64
	// Unknown says that more was lost than could be counted.
	Unknown bool
	// Text is for people. It may come from outside: sanitise it at the sink.
	Text string
}

// Mark is a note on the timeline: a deploy, a restart.
type Mark struct {
	Time int64
	Host string
	// Text is what the user said; From names the program or person, may be empty.
	Text, From string
}

// Event returns the mark as it is stored.
func (m Mark) Event() Event {
	return Event{Time: m.Time, Type: EventMark, Host: m.Host, Text: m.Text, Source: m.From, Count: 1}
}

// EventColumns returns the columns of events, by ascending tag. Callers must not
// change the slice.
func EventColumns() []Column[Event] { return eventColumns }

var eventColumns = []Column[Event]{
	{
		Tag: 1, Name: "time", Type: Time, Hint: Rising,
		Num:    func(e *Event) (uint64, bool) { return uint64(e.Time), true },
		SetNum: func(e *Event, v uint64) { e.Time = int64(v) },
	},
	when(2, "since", func(e *Event) *int64 { return &e.Since }),
	text(3, "event", func(e *Event) *string { return &e.Type }),
	{
		Tag: 4, Name: "id", Type: ID, Hint: Varied,
		Num:    func(e *Event) (uint64, bool) { return uint64(e.ID), e.ID != 0 },
		SetNum: func(e *Event, v uint64) { e.ID = tcp.ID(v) },
	},
	text(5, "host", func(e *Event) *string { return &e.Host }),
	text(6, "by", func(e *Event) *string { return &e.By }),
	num(7, "count", Uint64, Repeated, func(e *Event) *uint64 { return &e.Count }),
	text(8, "source", func(e *Event) *string { return &e.Source }),
	text(9, "where", func(e *Event) *string { return &e.Where }),
	num(10, "closes", Uint64, Repeated, func(e *Event) *uint64 { return &e.Closes }),
	num(11, "bytes_sent", Uint64, Repeated, func(e *Event) *uint64 { return &e.BytesSent }),
	num(12, "bytes_received", Uint64, Repeated, func(e *Event) *uint64 { return &e.BytesReceived }),
	{
		Tag: 13, Name: "unknown", Type: Bool, Hint: Repeated,
		Num:    func(e *Event) (uint64, bool) { return 1, e.Unknown },
		SetNum: func(e *Event, v uint64) { e.Unknown = v != 0 },
	},
	text(14, "text", func(e *Event) *string { return &e.Text }),
}
