package bpf

import (
	"encoding/binary"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Error numbers that a socket closes with, of include/uapi/asm-generic/errno.h.
// They are written out because records may be decoded on another system.
const (
	errPipe        = 32
	errNetDown     = 100
	errNetUnreach  = 101
	errConnReset   = 104
	errTimedOut    = 110
	errConnRefused = 111
	errHostDown    = 112
	errHostUnreach = 113
	errNonet       = 64
)

// decodeClose reads how a connection ended.
func decodeClose(b []byte, o *tcp.Observation) {
	old, flags, resets := tcp.KernelState(b[offOld]), b[offFlags], b[offReset]
	o.FirstFIN = firstFIN(old)
	o.Reason, o.Reset = closeReason(old, binary.LittleEndian.Uint32(b[offErr:]), resets, flags)
}

// closeReason tells how a connection ended: from its state before, the error it
// closed with, the RSTs seen until then and its flags.
func closeReason(old tcp.State, errno uint32, resets, flags uint8) (tcp.CloseReason, tcp.Side) {
	side := tcp.SideUnknown
	switch {
	case resets&resetReceived != 0:
		side = tcp.SideRemote
	case resets&resetSent != 0:
		side = tcp.SideLocal
	}
	switch errno {
	case errTimedOut:
		return tcp.CloseTimeout, side
	case errConnRefused:
		return tcp.CloseRefused, side
	case errHostUnreach, errNetUnreach, errHostDown, errNetDown, errNonet:
		return tcp.CloseUnreachable, side
	}
	switch {
	case side == tcp.SideRemote:
		return tcp.CloseRSTReceived, side
	case side == tcp.SideLocal:
		return tcp.CloseRSTSent, side
	case errno == errConnReset, errno == errPipe:
		// The tracepoint of received RSTs could not be attached.
		return tcp.CloseRSTReceived, tcp.SideRemote
	case errno != 0:
		return tcp.CloseAborted, tcp.SideUnknown
	}
	// No error and no RST so far. A socket that is closed with unread data or
	// without lingering gets its state first and sends its RST then.
	switch old {
	case tcp.Established, tcp.CloseWait, tcp.FinWait1:
		return tcp.CloseRSTSent, tcp.SideLocal
	case tcp.FinWait2:
		// It turns into TIME_WAIT on the peer's FIN, or into a mini socket when
		// its process lets it go; anything else is an abort.
		if flags&flagFINReceived != 0 || (flags&flagDead != 0 && flags&flagNoLinger == 0) {
			return tcp.CloseFIN, tcp.SideUnknown
		}
		return tcp.CloseRSTSent, tcp.SideLocal
	case tcp.Closing, tcp.LastAck, tcp.TimeWait:
		return tcp.CloseFIN, tcp.SideUnknown
	default:
		return tcp.CloseAborted, tcp.SideUnknown
	}
}

// amendClose corrects a final record by a RST that was sent after it: only then
// is it certain that this end aborted, and that what looked like a received RST
// was data that nobody would read any more (a RST is never answered by one).
func amendClose(closed, reset *tcp.Observation) {
	switch closed.Reason {
	case tcp.CloseFIN, tcp.CloseAborted, tcp.CloseUnknown:
		closed.Reason, closed.Reset = tcp.CloseRSTSent, tcp.SideLocal
	case tcp.CloseRSTReceived:
		if closed.FirstFIN == tcp.SideLocal {
			closed.Reason, closed.Reset = tcp.CloseRSTSent, tcp.SideLocal
		}
	default:
	}
	// The RST belongs before the end that it brought.
	reset.Time, reset.State = closed.Time, closed.State
}
