package tcptest

import (
	"encoding/binary"
	"io"
)

// A LinkFrame is one packet as one end of a Link saw it.
type LinkFrame struct {
	// Time is nanoseconds since 1970.
	Time int64
	// Passage is the packet's index in LinkRecord.Passages.
	Passage int
	// Out says that this end sent it; Copied that it is the second copy of one
	// that came before.
	Out, Copied bool
	// Data begins with the IP header and is cut at LinkConfig.Snap.
	Data    []byte
	WireLen int
}

// LinkRecord is all that happened on a Link.
type LinkRecord struct {
	// Passages has a packet each, in the order in which the link took them.
	Passages []Passage
	// Ends are what a capture at either end would have: every packet the end
	// sent, and every one that arrived.
	Ends [2][]LinkFrame
}

// rawIP is LINKTYPE_RAW: frames begin with the IP header.
const rawIP = 101

// WritePcap writes one end's frames as a pcap file with nanoseconds. It is a
// few lines of its own so that a reader is never tested with its own writer.
func (r *LinkRecord) WritePcap(w io.Writer, end int) error {
	// draft-ietf-opsawg-pcap, sections 4 and 5.
	b := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...)
	b = binary.LittleEndian.AppendUint32(b, 1<<16)
	b = binary.LittleEndian.AppendUint32(b, rawIP)
	for i := range r.Ends[end] {
		f := &r.Ends[end][i]
		b = binary.LittleEndian.AppendUint32(b, uint32(f.Time/1e9))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.Time%1e9))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f.Data)))
		b = binary.LittleEndian.AppendUint32(b, uint32(f.WireLen))
		b = append(b, f.Data...)
		if len(b) > 1<<16 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := w.Write(b)
	return err
}
