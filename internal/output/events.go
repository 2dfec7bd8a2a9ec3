package output

import (
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// EventLine writes events as lines for people. Its columns have fixed widths,
// because a stream cannot be measured before it is printed.
type EventLine struct {
	// Columns follow the time and the event; nil is a choice of our own.
	Columns []Column
	Color   bool
}

// fixedWidths are the usual widths of the columns of a stream.
var fixedWidths = map[string]int{
	"local": 21, "remote": 21, "state": 11, "process": 15, "pid": 7, "duration_us": 7,
	"bytes_sent": 6, "bytes_received": 6, "rtt_us": 6, "retransmits": 4, "close_reason": 12,
	"closed_by": 8, "handshake_us": 9,
}

const (
	eventTime      = "15:04:05.000000"
	eventTypeWidth = 11
)

// EventColumns are the columns of a stream of events.
func EventColumns() []Column {
	var cs []Column
	for _, n := range []string{"local", "remote", "pid", "process", "bytes_sent", "bytes_received", "rtt_us", "retransmits", "duration_us", "close_reason", "closed_by"} {
		if c, ok := ColumnByName(n); ok {
			cs = append(cs, c)
		}
	}
	return cs
}

// AppendHeader appends the line of heads.
func (l *EventLine) AppendHeader(b []byte) []byte {
	b = appendPadded(b, "TIME", len(eventTime), false)
	b = append(b, gap...)
	b = appendPadded(b, "EVENT", eventTypeWidth, false)
	for _, c := range l.Columns {
		b = append(b, gap...)
		b = appendPadded(b, c.Head, l.width(c), c.Right)
	}
	return append(b, '\n')
}

// Append appends one event.
func (l *EventLine) Append(b []byte, e *tcp.Event) []byte {
	b = time.Unix(0, e.Time.Wall).AppendFormat(b, eventTime)
	b = append(b, gap...)
	color := ""
	if l.Color {
		color = eventColor(e.Type)
	}
	b = append(b, color...)
	b = appendPadded(b, e.Type.String(), eventTypeWidth, false)
	if color != "" {
		b = append(b, colorOff...)
	}
	if e.Gap != nil {
		return append(appendGapText(append(b, gap...), e.Gap), '\n')
	}
	var cell []byte
	for _, c := range l.Columns {
		b = append(b, gap...)
		cell = c.Append(cell[:0], e.Conn)
		b = appendPadded(b, string(cell), l.width(c), c.Right)
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return append(b, '\n')
}

func (l *EventLine) width(c Column) int { return max(fixedWidths[c.Name], len(c.Head)) }

func appendPadded(b []byte, s string, width int, right bool) []byte {
	pad := width - textWidth([]byte(s))
	if right {
		return append(appendSpaces(b, pad), s...)
	}
	return appendSpaces(append(b, s...), pad)
}

func appendGapText(b []byte, g *tcp.Gap) []byte {
	if g.Skipped > 0 {
		b = strconv.AppendUint(b, g.Skipped, 10)
		b = append(b, " events skipped because this reader was too slow; "...)
	}
	b = append(b, "lost in "...)
	b = append(b, g.Where...)
	b = append(b, ": "...)
	if g.Unknown {
		return append(b, "the kernel does not say how much; a dump will find what is open"...)
	}
	b = strconv.AppendUint(b, g.Closes, 10)
	b = append(b, " closes with "...)
	b = AppendBytes(b, g.BytesSent)
	b = append(b, " sent and "...)
	b = AppendBytes(b, g.BytesReceived)
	b = append(b, " received, "...)
	b = strconv.AppendUint(b, g.Events, 10)
	return append(b, " other events"...)
}

func eventColor(t tcp.EventType) string {
	switch t {
	case tcp.EventOpened, tcp.EventEstablished:
		return colorGreen
	case tcp.EventClosed:
		return colorDim
	case tcp.EventRetransmit:
		return colorYellow
	default:
		return colorRed
	}
}
