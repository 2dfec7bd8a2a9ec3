package parquet

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A rollupKey is a group of connections' rows, by codes of the columns.
type rollupKey struct {
	time                              int64
	host, service, process, direction uint32
	country, asn                      uint32
	port                              uint16
	class                             store.Class
	hasASN                            bool
}

// A roller makes roll-ups out of rows of connections.
type roller struct {
	time, host, service, process, direction *vec
	localPort, remotePort, country, asn     *vec
	remote, kind, reason                    *vec
	rtt, duration, handshake                *vec
	// moved is how far each counter went, by row.
	moved [6][]uint64
}

// rolled are the counters that roll-ups sum.
var rolled = [6]int{
	store.BytesSent, store.BytesReceived, store.SegmentsSent, store.SegmentsReceived,
	store.Retransmits, store.BytesRetransmitted,
}

// twiceRead are the columns that sealing keeps while it is at work, because it
// reads them several times or they take long to read. Reading another one again
// costs less than its memory.
var twiceRead = func() (tags []uint16) {
	t := tables[store.Connections]
	for _, name := range [...]string{
		"kind", "time", "since", "id", "remote_ip", "service", "duration_us",
	} {
		tags = append(tags, t.named(name).tag)
	}
	return tags
}()

func (r *roller) load(src source) error {
	t := tables[store.Connections]
	fill := func(v **vec, name string) (err error) {
		c := t.named(name)
		scratch := new(vec)
		scratch.reset(c.typ)
		*v, err = src.read(scratch, c)
		return err
	}
	for _, f := range []struct {
		v    **vec
		name string
	}{
		{&r.time, "time"},
		{&r.host, "host"},
		{&r.service, "service"},
		{&r.process, "process"},
		{&r.direction, "direction"},
		{&r.localPort, "local_port"},
		{&r.remotePort, "remote_port"},
		{&r.country, "country"},
		{&r.asn, "asn"},
		{&r.remote, "remote_ip"},
		{&r.kind, "kind"},
		{&r.reason, "close_reason"},
		{&r.rtt, "rtt_us"},
		{&r.duration, "duration_us"},
		{&r.handshake, "handshake_us"},
	} {
		if err := fill(f.v, f.name); err != nil {
			return err
		}
	}
	total, delta := new(vec), new(vec)
	for i, c := range rolled {
		for _, x := range []struct {
			v    *vec
			name string
		}{{total, store.CounterField(c)}, {delta, store.CounterField(c) + "_delta"}} {
			col := t.named(x.name)
			x.v.reset(col.typ)
			if _, err := src.read(x.v, col); err != nil {
				return err
			}
		}
		r.moved[i] = slices.Clone(total.nums) // unknown is 0
		for row, known := range delta.known {
			if known {
				r.moved[i][row] = delta.nums[row]
			}
		}
	}
	return nil
}

// rollUp returns the roll-ups of src's rows by the minute and by the hour. Those of
// taps are not among them.
func rollUp(src source) (minutes, hours []store.Rollup, err error) {
	if src, err = socketRows(src); err != nil {
		return nil, nil, err
	}
	var r roller
	if err := r.load(src); err != nil {
		return nil, nil, err
	}
	return r.by(store.Minute, nil), r.by(store.Hour, r.manyRows()), nil
}

// by sums the rows by an interval. Countries and networks are told apart only
// where networks says which: by the minute they would make nearly as many groups
// as there are connections.
func (r *roller) by(interval int64, networks map[hourNetwork]bool) []store.Rollup {
	groups, of := r.group(interval, networks)
	// The rows of a group one after the other, so that one histogram is enough.
	starts := make([]uint32, len(groups)+1)
	for _, g := range of {
		starts[g+1]++
	}
	for i := range groups {
		starts[i+1] += starts[i]
	}
	rows := make([]uint32, len(of))
	next := slices.Clone(starts)
	for row, g := range of {
		rows[next[g]] = uint32(row)
		next[g]++
	}
	var s summer
	out := make([]store.Rollup, len(groups))
	for g := range groups {
		out[g] = r.sum(&s, &groups[g], rows[starts[g]:starts[g+1]])
	}
	return out
}

// An hourNetwork is an autonomous system in an hour.
type hourNetwork struct {
	hour int64
	asn  uint32
}

// manyRows are the networks that have one in a hundred of the rows of an hour, or
// more: the others are put together.
func (r *roller) manyRows() map[hourNetwork]bool {
	count := make(map[hourNetwork]int)
	total := make(map[int64]int)
	for i, t := range r.time.nums {
		hour := int64(t) - floorMod(int64(t), store.Hour)
		total[hour]++
		if r.asn.known[i] {
			count[hourNetwork{hour, uint32(r.asn.nums[i])}]++
		}
	}
	many := make(map[hourNetwork]bool)
	for k, n := range count {
		if n*100 >= total[k.hour] {
			many[k] = true
		}
	}
	return many
}

// group finds the distinct keys, and that of each row.
func (r *roller) group(interval int64, networks map[hourNetwork]bool) (groups []rollupKey, of []uint32) {
	direction := make([]tcp.Direction, len(r.direction.dict))
	for i, s := range r.direction.dict {
		for d := tcp.DirectionUnknown; d <= tcp.Transit; d++ {
			if d.String() == s {
				direction[i] = d
			}
		}
	}
	class := make([]store.Class, len(r.remote.dict))
	for i, s := range r.remote.dict {
		class[i] = store.ClassOf(addrOf(s))
	}
	index := make(map[rollupKey]uint32)
	of = make([]uint32, r.time.len())
	for i := range of {
		t := int64(r.time.nums[i])
		k := rollupKey{
			time: t - floorMod(t, interval),
			host: r.host.codes[i], service: r.service.codes[i], process: r.process.codes[i],
			direction: r.direction.codes[i], country: noCode,
		}
		if networks != nil {
			k.country = r.country.codes[i]
			if k.hasASN = r.asn.known[i]; k.hasASN && networks[hourNetwork{k.time, uint32(r.asn.nums[i])}] {
				k.asn = uint32(r.asn.nums[i])
			}
		}
		if c := r.remote.codes[i]; c != noCode {
			k.class = class[c]
		}
		d := tcp.DirectionUnknown
		if k.direction != noCode {
			d = direction[k.direction]
		}
		k.port = store.ServicePort(d, uint16(r.localPort.nums[i]), uint16(r.remotePort.nums[i]))
		g, ok := index[k]
		if !ok {
			g = uint32(len(groups))
			index[k] = g
			groups = append(groups, k)
		}
		of[i] = g
	}
	return groups, of
}

func floorMod(a, b int64) int64 { return ((a % b) + b) % b }

func (v *vec) textOf(code uint32) string {
	if code == noCode {
		return ""
	}
	return v.dict[code]
}

// sum adds up the rows of one group.
func (r *roller) sum(s *summer, k *rollupKey, rows []uint32) store.Rollup {
	out := store.Rollup{
		Time: k.time,
		RollupKey: store.RollupKey{
			Host: r.host.textOf(k.host), Service: r.service.textOf(k.service), Process: r.process.textOf(k.process),
			Direction: r.direction.textOf(k.direction), ServicePort: k.port,
			Country: r.country.textOf(k.country), ASN: k.asn, HasASN: k.hasASN, Class: k.class,
		},
		Rows: uint64(len(rows)),
	}
	sums := [6]*uint64{
		&out.BytesSent, &out.BytesReceived, &out.SegmentsSent, &out.SegmentsReceived, &out.Retransmits, &out.BytesRetransmitted,
	}
	for i := range sums {
		for _, row := range rows {
			*sums[i] += r.moved[i][row]
		}
	}
	closed := s.closed[:0]
	for _, row := range rows {
		if r.kind.textOf(r.kind.codes[row]) != store.Close.String() {
			continue
		}
		closed = append(closed, row)
		switch r.reason.textOf(r.reason.codes[row]) {
		case tcp.CloseRefused.String(), tcp.CloseTimeout.String(), tcp.CloseUnreachable.String():
			// Established connections can time out as well, but had a handshake.
			if !r.handshake.known[row] {
				out.Failed++
			}
		case tcp.CloseRSTSent.String(), tcp.CloseRSTReceived.String():
			out.Reset++
		}
	}
	s.closed = closed
	out.Closed = uint64(len(closed))
	out.RTT = s.distribute(r.rtt, closed)
	out.Duration = s.distribute(r.duration, closed)
	out.Handshake = s.distribute(r.handshake, closed)
	return out
}

// A summer is scratch memory of sums.
type summer struct {
	closed []uint32
	counts store.Histogram
	buf    []byte
}

func (s *summer) distribute(v *vec, rows []uint32) (d store.Distribution) {
	low, high := store.NumBuckets, 0
	for _, row := range rows {
		if !v.known[row] {
			continue
		}
		n := v.nums[row]
		if d.Count == 0 {
			d.Min = n
		}
		d.Count++
		d.Sum += n
		d.Min, d.Max = min(d.Min, n), max(d.Max, n)
		b := int(store.Bucket(n))
		s.counts[b]++
		low, high = min(low, b), max(high, b)
	}
	if d.Count > 0 {
		s.buf = appendBuckets(s.buf[:0], &s.counts, low, high)
		d.Buckets = string(s.buf)
		clear(s.counts[low : high+1])
	}
	return d
}

func appendBuckets(b []byte, h *store.Histogram, low, high int) []byte {
	for i := low; i <= high; i++ {
		if n := h[i]; n != 0 {
			b = append(b, uint8(i))
			for n >= 0x80 {
				b = append(b, byte(n)|0x80)
				n >>= 7
			}
			b = append(b, byte(n))
		}
	}
	return b
}
