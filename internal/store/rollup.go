package store

import "github.com/viewtcp/viewtcp/internal/tcp"

// Class says what kind of network the remote end is in.
type Class uint8

// Classes of remote addresses.
const (
	ClassPublic Class = iota + 1
	ClassPrivate
	ClassLoopback
	ClassLinkLocal
	ClassOther
)

var classNames = [...]string{"", "public", "private", "loopback", "link_local", "other"}

func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return ""
}

// ClassOf returns the class of an address: loopback, link-local (RFC 3927, RFC
// 4291), private (RFC 1918, RFC 4193, and shared address space of RFC 6598),
// public (global unicast), or other.
func ClassOf(a tcp.Addr) Class {
	ip := a.IP()
	switch {
	case ip.IsLoopback():
		return ClassLoopback
	case ip.IsLinkLocalUnicast():
		return ClassLinkLocal
	case ip.IsPrivate(), a.Is4() && a[12] == 100 && a[13]&0xc0 == 64:
		return ClassPrivate
	case ip.IsGlobalUnicast():
		return ClassPublic
	default:
		return ClassOther
	}
}

// ServicePort is the port that says what a connection is for: the local one of
// inbound connections, the remote one of all others but listeners; 0 is unknown.
func ServicePort(d tcp.Direction, local, remote uint16) uint16 {
	switch d {
	case tcp.Inbound, tcp.Listening:
		return local
	case tcp.DirectionUnknown:
		return min(local, remote)
	default:
		return remote
	}
}

// RollupKey is what roll-ups are grouped by. The remote address is not part of
// it: its country, network and class stand for it.
type RollupKey struct {
	Host, Service, Process, Direction string
	ServicePort                       uint16
	// Country and ASN are told apart by the hour only. ASN 0 (RFC 7607: no
	// network's number) with HasASN stands for all networks that had less than
	// one in a hundred of the rows.
	Country string
	ASN     uint32
	HasASN  bool
	Class   Class
}

// Rollup sums the rows of connections of one group whose Time is in an interval.
// Over all rows of a time range sums and counts of roll-ups equal those of the
// connections' rows; several rows for the same interval and group add up.
type Rollup struct {
	// Time is the start of the interval, nanoseconds since 1970 UTC; its length
	// follows from the table.
	Time int64
	RollupKey
	// Rows counts rows; Closed those of ends; Failed the ends of connections
	// that never were established (refused, timeout, unreachable); Reset those
	// by RST.
	Rows, Closed, Failed, Reset uint64
	// Sums of deltas.
	BytesSent, BytesReceived, SegmentsSent, SegmentsReceived, Retransmits, BytesRetransmitted uint64
	// Each closed connection counts once, if it knows the value.
	RTT, Duration, Handshake Distribution
}

// Add adds another roll-up of the same group to r. Its error wraps ErrDamaged.
func (r *Rollup) Add(o *Rollup) error {
	r.Rows += o.Rows
	r.Closed += o.Closed
	r.Failed += o.Failed
	r.Reset += o.Reset
	r.BytesSent += o.BytesSent
	r.BytesReceived += o.BytesReceived
	r.SegmentsSent += o.SegmentsSent
	r.SegmentsReceived += o.SegmentsReceived
	r.Retransmits += o.Retransmits
	r.BytesRetransmitted += o.BytesRetransmitted
	if err := r.RTT.Add(&o.RTT); err != nil {
		return err
	}
	if err := r.Duration.Add(&o.Duration); err != nil {
		return err
	}
	return r.Handshake.Add(&o.Handshake)
}

// Distribution sums up durations, microseconds.
type Distribution struct {
	Count, Sum, Min, Max uint64
	// Buckets is a Histogram as it is stored.
	Buckets string
}

// Add adds the durations of another distribution. Its error wraps ErrDamaged.
func (d *Distribution) Add(o *Distribution) error {
	switch {
	case o.Count == 0:
		return nil
	case d.Count == 0:
		*d = *o
		return nil
	}
	var h Histogram
	for _, s := range [...]string{d.Buckets, o.Buckets} {
		if err := h.AddEncoded(s); err != nil {
			return err
		}
	}
	d.Count += o.Count
	d.Sum += o.Sum
	d.Min, d.Max = min(d.Min, o.Min), max(d.Max, o.Max)
	d.Buckets = string(h.AppendTo(nil))
	return nil
}

// RollupColumns returns the columns of roll-ups of either interval, by ascending
// tag. Callers must not change the slice.
func RollupColumns() []Column[Rollup] { return rollupColumns }

var rollupColumns = func() []Column[Rollup] {
	cs := []Column[Rollup]{
		{
			Tag: 1, Name: "time", Type: Time, Hint: Repeated,
			Num:    func(r *Rollup) (uint64, bool) { return uint64(r.Time), true },
			SetNum: func(r *Rollup, v uint64) { r.Time = int64(v) },
		},
		text(2, "host", func(r *Rollup) *string { return &r.Host }),
		text(3, "service", func(r *Rollup) *string { return &r.Service }),
		text(4, "process", func(r *Rollup) *string { return &r.Process }),
		text(5, "direction", func(r *Rollup) *string { return &r.Direction }),
		{
			Tag: 6, Name: "service_port", Type: Uint16, Hint: Repeated,
			Num:    func(r *Rollup) (uint64, bool) { return uint64(r.ServicePort), r.ServicePort != 0 },
			SetNum: func(r *Rollup, v uint64) { r.ServicePort = uint16(v) },
		},
		text(7, "country", func(r *Rollup) *string { return &r.Country }),
		{
			Tag: 8, Name: "asn", Type: Uint32, Hint: Repeated,
			Num:    func(r *Rollup) (uint64, bool) { return uint64(r.ASN), r.HasASN },
			SetNum: func(r *Rollup, v uint64) { r.ASN, r.HasASN = uint32(v), true },
		},
		{
			Tag: 9, Name: "remote_class", Type: String, Hint: Repeated,
			Str: func(r *Rollup) (string, bool) { return r.Class.String(), r.Class != 0 },
			SetStr: func(r *Rollup, s string) {
				for c := ClassPublic; c <= ClassOther; c++ {
					if c.String() == s {
						r.Class = c
					}
				}
			},
		},
	}
	sum := func(tag uint16, name string, hint Hint, at func(*Rollup) *uint64) {
		cs = append(cs, count(tag, name, Uint64, hint, at))
	}
	sum(20, "rows", Repeated, func(r *Rollup) *uint64 { return &r.Rows })
	sum(21, "closed", Repeated, func(r *Rollup) *uint64 { return &r.Closed })
	sum(22, "failed", Repeated, func(r *Rollup) *uint64 { return &r.Failed })
	sum(23, "reset", Repeated, func(r *Rollup) *uint64 { return &r.Reset })
	sum(24, "bytes_sent", Varied, func(r *Rollup) *uint64 { return &r.BytesSent })
	sum(25, "bytes_received", Varied, func(r *Rollup) *uint64 { return &r.BytesReceived })
	sum(26, "segments_sent", Varied, func(r *Rollup) *uint64 { return &r.SegmentsSent })
	sum(27, "segments_received", Varied, func(r *Rollup) *uint64 { return &r.SegmentsReceived })
	sum(28, "retransmits", Repeated, func(r *Rollup) *uint64 { return &r.Retransmits })
	sum(29, "bytes_retransmitted", Repeated, func(r *Rollup) *uint64 { return &r.BytesRetransmitted })
	distribution := func(tag uint16, name string, at func(*Rollup) *Distribution) {
		cs = append(cs,
			count(tag, name+"_count", Uint64, Repeated, func(r *Rollup) *uint64 { return &at(r).Count }),
			count(tag+1, name+"_sum_us", Uint64, Varied, func(r *Rollup) *uint64 { return &at(r).Sum }),
			count(tag+2, name+"_min_us", Uint64, Varied, func(r *Rollup) *uint64 { return &at(r).Min }),
			count(tag+3, name+"_max_us", Uint64, Varied, func(r *Rollup) *uint64 { return &at(r).Max }))
		c := text(tag+4, name+"_buckets", func(r *Rollup) *string { return &at(r).Buckets })
		c.Type = Bytes
		cs = append(cs, c)
	}
	distribution(40, "rtt", func(r *Rollup) *Distribution { return &r.RTT })
	distribution(50, "duration", func(r *Rollup) *Distribution { return &r.Duration })
	distribution(60, "handshake", func(r *Rollup) *Distribution { return &r.Handshake })
	return cs
}()
