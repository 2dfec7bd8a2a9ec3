package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// A ladder draws one connection between its two ends: what each sent stands
// below it, with an arrow to the other.
const (
	ladderTime  = 12
	ladderWidth = 46
)

// appendLadderHead names the two ends; the initiator is on the left.
func appendLadderHead(b []byte, p *packetRow) []byte {
	t := p.seg.Tuple
	if !p.v.Initiator {
		t = t.Reverse()
	}
	b = fmt.Appendf(b, "%8s %*s  ", "FRAME", ladderTime, "TIME")
	at := len(b)
	b = pad(appendAddrPort(b, t.Local, t.LocalPort), at, ladderWidth/2)
	right := string(appendAddrPort(nil, t.Remote, t.RemotePort))
	b = append(b, strings.Repeat(" ", max(ladderWidth-ladderWidth/2-len(right), 1))...)
	return append(append(b, right...), "  ANALYSIS\n"...)
}

// appendRung appends one segment as an arrow.
func (l *packetList) appendRung(b []byte, p *packetRow) []byte {
	s, v := p.seg, p.v
	b = fmt.Appendf(b, "%8d %*.6f  ", s.Number, ladderTime, float64(s.Time-l.start)/1e9)
	text := string(appendTCPFlags(nil, s.Flags)) + " seq=" + strconv.FormatUint(uint64(v.RelSeq), 10)
	if s.Len > 0 {
		text += " len=" + strconv.FormatUint(uint64(s.Len), 10)
	}
	if s.Flags&capture.ACK != 0 {
		text += " ack=" + strconv.FormatUint(uint64(v.RelAck), 10)
	}
	room := ladderWidth - 4
	if len(text) > room {
		text = text[:room]
	}
	line := strings.Repeat("-", room-len(text)+1)
	if v.Initiator {
		b = append(append(append(b, text...), ' '), line...)
		b = append(b, "> |"...)
	} else {
		b = append(append(append(b, "| <"...), line...), ' ')
		b = append(b, text...)
	}
	b = l.appendMarks(append(b, "  "...), v)
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return append(b, '\n')
}
