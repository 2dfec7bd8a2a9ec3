package report

import "encoding/binary"

// Points travel as bytes in base64: JSON of the same would be five times as
// long. assets/points.js reads what this file writes, and nothing else does, so
// the encoding has no version.
//
// A point begins with a byte of the bits below; then come, as varints (z: zigzag
// of the difference to the previous point of the same sender, or as said):
//
//	time z ns since the previous point of either sender
//	seq z against seq+len of the previous; ack z; len
//	numbered:    frame z since the previous point of either sender
//	len > 0:     inFlight
//	bitFlags:    flags; otherwise ACK alone
//	bitAnalysis: analysis
//	bitRTT:      rttMax
//	bitWindow:   winMax z
//	bitRun:      span µs, n, rttMax−rttMin, winMax−winMin
const (
	bitFrom     = 1 << 0
	bitVerdict  = 1 << 1 // two bits
	bitFlags    = 1 << 3
	bitAnalysis = 1 << 4
	bitRTT      = 1 << 5
	bitWindow   = 1 << 6
	bitRun      = 1 << 7
)

// appendPoints appends the points of a plot, the first one's time after the one
// given; numbered says that they have frame numbers.
func appendPoints(b []byte, ps []point, time int64, numbered bool) []byte {
	var frame uint64
	var next, ack [2]int64
	var win [2]uint32
	for i := range ps {
		p := &ps[i]
		d := p.from & 1
		head := d | p.verdict&3<<1
		if p.flags != flagACK {
			head |= bitFlags
		}
		if p.analysis != 0 {
			head |= bitAnalysis
		}
		if p.rttMax != 0 {
			head |= bitRTT
		}
		if p.winMax != win[d] {
			head |= bitWindow
		}
		if p.n > 1 {
			head |= bitRun
		}
		b = append(b, head)
		b = binary.AppendVarint(b, p.time-time)
		b = binary.AppendVarint(b, p.seq-next[d])
		b = binary.AppendVarint(b, p.ack-ack[d])
		b = binary.AppendUvarint(b, uint64(p.len))
		if numbered {
			b = binary.AppendVarint(b, int64(p.frame-frame))
		}
		if p.len > 0 {
			b = binary.AppendUvarint(b, uint64(p.inFlight))
		}
		if head&bitFlags != 0 {
			b = binary.AppendUvarint(b, uint64(p.flags))
		}
		if head&bitAnalysis != 0 {
			b = binary.AppendUvarint(b, uint64(p.analysis))
		}
		if head&bitRTT != 0 {
			b = binary.AppendUvarint(b, uint64(p.rttMax))
		}
		if head&bitWindow != 0 {
			b = binary.AppendVarint(b, int64(p.winMax)-int64(win[d]))
		}
		if head&bitRun != 0 {
			b = binary.AppendUvarint(b, uint64(p.span))
			b = binary.AppendUvarint(b, uint64(p.n))
			b = binary.AppendUvarint(b, uint64(p.rttMax-p.rttMin))
			b = binary.AppendUvarint(b, uint64(p.winMax-p.winMin))
		}
		time, frame = p.time, p.frame
		next[d], ack[d], win[d] = p.seq+int64(p.len), p.ack, p.winMax
	}
	return b
}

// appendSACKs appends SACK blocks: the sender's bit, then z time since the
// previous, z left since the previous left, z right since this left.
func appendSACKs(b []byte, ms []sackMark, time int64) []byte {
	var left int64
	for i := range ms {
		m := &ms[i]
		b = append(b, m.from&1)
		b = binary.AppendVarint(b, m.time-time)
		b = binary.AppendVarint(b, m.left-left)
		b = binary.AppendVarint(b, m.right-m.left)
		time, left = m.time, m.left
	}
	return b
}
