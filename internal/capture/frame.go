package capture

// Frame is one packet as it was captured, whatever is in it.
type Frame struct {
	// Time is UTC, nanoseconds since 1970; 0 where a file keeps none (simple
	// packet blocks of pcapng).
	Time int64
	// Number counts every frame of one file or capture, from 1.
	Number uint64
	// Link says how Data begins.
	Link LinkType
	// Interface is an index into the interfaces of the reader: of a pcapng
	// section, or of a live capture.
	Interface uint32
	// Data is what was captured of the frame. It belongs to the reader and is
	// valid until the next call.
	Data []byte
	// WireLen is the length that the frame had on the wire.
	WireLen uint32
	// Way tells which way the frame passed the interface, if that is known.
	Way Way
	// Dropped is how many frames are missing between this one and the one before
	// it, as the file says (epb_dropcount of pcapng).
	Dropped uint64
	// Comment is the first comment kept with the packet, if there is one.
	Comment string
}

// Way is the direction of a frame as the capturing host saw it.
type Way uint8

// Values follow the direction bits of epb_flags in pcapng.
const (
	WayUnknown Way = iota
	WayIn
	WayOut
)

// LinkType is a LINKTYPE_ number of the registry of the tcpdump group, as in
// the header of pcap and pcapng files.
type LinkType uint16
