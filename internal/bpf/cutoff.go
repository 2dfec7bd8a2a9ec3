package bpf

// CutoffConfig says what a Cutoff passes.
type CutoffConfig struct {
	// Packets and Bytes of payload are passed of each direction of a
	// connection; the first limit that is reached counts, and 0 is none.
	Packets uint32
	Bytes   uint64
	// Snaplen is how much of a packet that passes is kept, bytes.
	Snaplen uint32
	// LinkHeader is the length of the header that packets have before their
	// network header: 14 for raw sockets on Ethernet, else 0.
	LinkHeader uint32
	// SkipLoopback leaves out what a loopback interface sends, for sockets on
	// all interfaces: it comes again, received.
	SkipLoopback bool
	// Connections is how many are remembered; of more, those that were used
	// last. Together they take some 200 bytes of the kernel each.
	Connections int
}

// DefaultCutoffConfig returns the configuration for a raw socket on Ethernet.
func DefaultCutoffConfig() CutoffConfig {
	return CutoffConfig{Packets: 100, Snaplen: 256, LinkHeader: 14, Connections: 1 << 18}
}

// CutoffStats counts the packets that a Cutoff has seen, each once.
type CutoffStats struct {
	// Passed went on to the socket, which may still have dropped them.
	Passed uint64
	// Cut belong to a connection of which enough was passed; CutBytes are their
	// bytes from the network header on.
	Cut, CutBytes uint64
	// Ignored carry no TCP.
	Ignored uint64
}
