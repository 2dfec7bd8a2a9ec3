package capture

import (
	"fmt"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// AnyInterface is the name that stands for all interfaces of a namespace.
const AnyInterface = "any"

// MaxLiveSnaplen is the most that is kept of a frame, bytes; large receive and send
// offload make frames of 64 KiB and more.
const MaxLiveSnaplen = 256 << 10

// LiveConfig says what to capture, and into how much memory.
type LiveConfig struct {
	// Interfaces are the names of the interfaces, or AnyInterface alone; none
	// is AnyInterface.
	Interfaces []string
	// Snaplen is how much of each frame is kept, bytes from its begin; 0 is
	// MaxLiveSnaplen.
	Snaplen uint32
	// RingBytes is the memory of the ring between the kernel and one reader of
	// one interface. The kernel never swaps it.
	RingBytes int
	// BlockBytes is the part of the ring that is handed over at once: a power
	// of two and at least a page. A frame must fit into one; longer ones are cut.
	BlockBytes int
	// BlockTimeout is how long the kernel keeps a block that is not full, in
	// steps of a millisecond. A reader that stands still for as many timeouts as
	// there are blocks loses frames, however few there are.
	BlockTimeout time.Duration
	// Gather is how long Next may leave frames in the ring while they come
	// steadily, so that many are read for one wake-up. It begins with a
	// millisecond and doubles as long as little of the ring is used; still, a
	// sudden flood may find the ring too small. 0 is not at all.
	Gather time.Duration
	// Promiscuous asks for frames to other hosts as well, for as long as the
	// capture is open. AnyInterface has no such mode.
	Promiscuous bool
	// Filter is what to capture, as far as the kernel can tell (see
	// CompileProgram); the caller checks the rest. nil is every frame.
	Filter *filter.Filter
	// FilterFD is a loaded eBPF socket filter that decides instead of Filter,
	// and says how much of a frame is kept; 0 is none. The capture does not
	// close it.
	FilterFD int
	// HardwareTime takes the clock of the interface where that stamps frames,
	// else the one of the host as always. The two clocks may be apart.
	HardwareTime bool
	// Do runs a function on its own goroutine inside the network namespace to
	// capture in; nil is the namespace of the caller.
	Do func(func()) error
}

// DefaultLiveConfig returns the configuration for all interfaces.
func DefaultLiveConfig() LiveConfig {
	return LiveConfig{
		Interfaces:   []string{AnyInterface},
		Snaplen:      MaxLiveSnaplen,
		RingBytes:    32 << 20,
		BlockBytes:   1 << 20,
		BlockTimeout: 100 * time.Millisecond,
	}
}

// complete fills in what is zero and checks the rest.
func (c LiveConfig) complete() (LiveConfig, error) {
	def := DefaultLiveConfig()
	if len(c.Interfaces) == 0 {
		c.Interfaces = def.Interfaces
	}
	if c.Snaplen == 0 || c.Snaplen > MaxLiveSnaplen {
		c.Snaplen = MaxLiveSnaplen
	}
	if c.RingBytes == 0 {
		c.RingBytes = def.RingBytes
	}
	if c.BlockBytes == 0 {
		c.BlockBytes = min(def.BlockBytes, c.RingBytes)
	}
	if c.BlockTimeout == 0 {
		c.BlockTimeout = def.BlockTimeout
	}
	seen := make(map[string]bool)
	for _, name := range c.Interfaces {
		switch {
		case seen[name]:
			return c, fmt.Errorf("interface %q is named twice", name)
		case name == AnyInterface && len(c.Interfaces) > 1:
			return c, fmt.Errorf("interface %q stands for all and takes no others beside it", name)
		}
		seen[name] = true
	}
	switch {
	case c.BlockBytes < 4096 || c.BlockBytes&(c.BlockBytes-1) != 0:
		return c, fmt.Errorf("a block of the ring of %d bytes: want a power of two, 4096 or more", c.BlockBytes)
	case c.RingBytes < c.BlockBytes || c.RingBytes > 1<<30:
		return c, fmt.Errorf("a ring of %d bytes: want one block at least and 1 GiB at most", c.RingBytes)
	case c.BlockTimeout < time.Millisecond || c.BlockTimeout > 10*time.Second:
		return c, fmt.Errorf("a block timeout of %v: want 1 ms to 10 s", c.BlockTimeout)
	case c.FilterFD < 0:
		return c, fmt.Errorf("filter descriptor %d is negative", c.FilterFD)
	}
	return c, nil
}

// LiveInterface is one interface of a live capture.
type LiveInterface struct {
	Name string
	// Index is the number of the interface in its namespace; 0 for
	// AnyInterface.
	Index int
	// Link is how its frames begin.
	Link LinkType
	// Up says whether it was up when the capture began. One that is down is
	// waited for.
	Up bool
	// Loopback says that frames come back to this host: only their arrival is
	// captured, or each would be there twice.
	Loopback bool
}

// LiveStats counts the frames of a capture since it was opened. What an
// interface carried is Received + Dropped + what the filter kept out.
type LiveStats struct {
	// Received are the frames that the kernel put into the ring; Next delivers
	// each, but Skipped ones.
	Received uint64
	// Dropped are those that passed the filter but found the ring full.
	Dropped uint64
	// Freezes counts how often the ring became full.
	Freezes uint64
	// Delivered are those that Next returned.
	Delivered uint64
	// Skipped are sent frames of loopback interfaces, which come again as
	// received ones. The kernel leaves them out by itself, unless
	// LiveConfig.FilterFD decides for all interfaces.
	Skipped uint64
	// Downs counts how often an interface went down. Capture goes on when it
	// is up again.
	Downs uint64
}

// Add sums the counts of several captures.
func (s LiveStats) Add(t LiveStats) LiveStats {
	return LiveStats{
		Received: s.Received + t.Received, Dropped: s.Dropped + t.Dropped, Freezes: s.Freezes + t.Freezes,
		Delivered: s.Delivered + t.Delivered, Skipped: s.Skipped + t.Skipped, Downs: s.Downs + t.Downs,
	}
}

// NoInterfaceError says that there is no interface of a name.
type NoInterfaceError struct {
	Name string
	// Have are the interfaces that are there; Nearest is the one of them that
	// was probably meant, or empty.
	Have    []string
	Nearest string
}

func (e *NoInterfaceError) Error() string {
	s := fmt.Sprintf("no interface %q", e.Name)
	switch {
	case e.Nearest != "":
		s += fmt.Sprintf(", did you mean %q?", e.Nearest)
	case len(e.Have) > 0:
		s += ", there are " + strings.Join(e.Have, ", ")
	}
	return s
}

func noInterface(name string, have []string) *NoInterfaceError {
	return &NoInterfaceError{Name: name, Have: have, Nearest: filter.Nearest(name, append([]string{AnyInterface}, have...))}
}

// InterfaceGoneError says that an interface was removed while it was captured.
type InterfaceGoneError struct{ Name string }

func (e *InterfaceGoneError) Error() string {
	return fmt.Sprintf("interface %q was removed during the capture", e.Name)
}

// rightsError says what a live capture needs. It wraps tcp.ErrPermission.
func rightsError(doing string, err error) error {
	return fmt.Errorf("%s needs CAP_NET_RAW: run as root, or give the program the right with setcap cap_net_raw+ep: %w (%w)",
		doing, tcp.ErrPermission, err)
}

// FindLiveInterfaces looks up what OpenLive would capture from. It needs no
// rights; do is as LiveConfig.Do.
func FindLiveInterfaces(names []string, do func(func()) error) ([]LiveInterface, error) {
	cfg, err := LiveConfig{Interfaces: names}.complete()
	if err != nil {
		return nil, err
	}
	var found []LiveInterface
	find := func() { found, err = findInterfaces(cfg.Interfaces) }
	if do == nil {
		find()
	} else if errDo := do(find); errDo != nil {
		return nil, fmt.Errorf("looking for interfaces: entering the namespace: %w", errDo)
	}
	return found, err
}
