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

// A roller makes roll-ups out of rows of connections. It holds the columns that the
// rows are grouped by at first, and then one after the other of those that are
// summed.
type roller struct {
	src  source
	pool *vecPool
	// own are the columns to give back.
	own []*vec

	time, host, service, process, direction *vec
	localPort, remotePort, country, asn     *vec
	remote                                  *vec

	// moved is how far a counter went, by row.
	moved  []uint64
	closed []bool // by row
	sums   [2]*rollupSum
}

// A rollupSum is the roll-ups of one interval.
type rollupSum struct {
	groups []store.Rollup
	// of is the group of each row.
	of []uint32
	// order are the rows of ends, those of a group one after the other so that one
	// histogram is enough; starts is where each group begins, and where the last
	// one ends.
	order, starts []uint32
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

// read reads a column that is kept until release.
func (r *roller) read(name string) (*vec, error) {
	c := tables[store.Connections].named(name)
	own := r.pool.get(c.typ)
	r.own = append(r.own, own)
	return r.src.read(own, c)
}

// release gives back the columns that were read.
func (r *roller) release() {
	for _, v := range r.own {
		r.pool.put(v)
	}
	r.own = r.own[:0]
}

// rollUp returns the roll-ups of src's rows by the minute and by the hour. Those of
// taps are not among them.
func rollUp(src source, pool *vecPool) (minutes, hours []store.Rollup, err error) {
	r := roller{pool: pool}
	defer r.release()
	if r.src, err = socketRows(src); err != nil {
		return nil, nil, err
	}
	for _, step := range [...]func() error{r.group, r.count, r.sum, r.distribute} {
		err := step()
		r.release()
		if err != nil {
			return nil, nil, err
		}
	}
	return r.sums[0].groups, r.sums[1].groups, nil
}

// group finds the group of each row. Countries and networks are told apart by the
// hour only, and networks where manyRows says so: by the minute they would make
// nearly as many groups as there are connections.
func (r *roller) group() (err error) {
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
	} {
		if *f.v, err = r.read(f.name); err != nil {
			return err
		}
	}
	r.sums = [2]*rollupSum{r.by(store.Minute, nil), r.by(store.Hour, r.manyRows())}
	return nil
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

// by finds the distinct keys of an interval, and that of each row.
func (r *roller) by(interval int64, networks map[hourNetwork]bool) *rollupSum {
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
	s := &rollupSum{of: make([]uint32, r.time.len())}
	for i := range s.of {
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
			g = uint32(len(s.groups))
			index[k] = g
			s.groups = append(s.groups, r.rollup(&k))
		}
		s.groups[g].Rows++
		s.of[i] = g
	}
	return s
}

// rollup begins the roll-up of a group.
func (r *roller) rollup(k *rollupKey) store.Rollup {
	return store.Rollup{Time: k.time, RollupKey: store.RollupKey{
		Host: r.host.textOf(k.host), Service: r.service.textOf(k.service), Process: r.process.textOf(k.process),
		Direction: r.direction.textOf(k.direction), ServicePort: k.port,
		Country: r.country.textOf(k.country), ASN: k.asn, HasASN: k.hasASN, Class: k.class,
	}}
}

// count counts the ends, by how they came.
func (r *roller) count() error {
	kind, err := r.read("kind")
	if err != nil {
		return err
	}
	reason, err := r.read("close_reason")
	if err != nil {
		return err
	}
	handshake, err := r.read("handshake_us")
	if err != nil {
		return err
	}
	failed, reset := make([]bool, len(reason.dict)), make([]bool, len(reason.dict))
	for i, s := range reason.dict {
		switch s {
		case tcp.CloseRefused.String(), tcp.CloseTimeout.String(), tcp.CloseUnreachable.String():
			failed[i] = true
		case tcp.CloseRSTSent.String(), tcp.CloseRSTReceived.String():
			reset[i] = true
		}
	}
	r.closed = make([]bool, kind.len())
	for row := range r.closed {
		if kind.textOf(kind.codes[row]) != store.Close.String() {
			continue
		}
		r.closed[row] = true
		c := reason.codes[row]
		for _, s := range r.sums {
			g := &s.groups[s.of[row]]
			g.Closed++
			// Established connections can time out as well, but had a handshake.
			if c != noCode && failed[c] && !handshake.known[row] {
				g.Failed++
			}
			if c != noCode && reset[c] {
				g.Reset++
			}
		}
	}
	for _, s := range r.sums {
		s.sort(r.closed)
	}
	return nil
}

// sort puts the rows of ends in the order of their groups.
func (s *rollupSum) sort(closed []bool) {
	s.starts = make([]uint32, len(s.groups)+1)
	for i := range s.groups {
		s.starts[i+1] = s.starts[i] + uint32(s.groups[i].Closed)
	}
	s.order = make([]uint32, s.starts[len(s.groups)])
	next := slices.Clone(s.starts)
	for row, g := range s.of {
		if closed[row] {
			s.order[next[g]] = uint32(row)
			next[g]++
		}
	}
}

// sum adds up the counters.
func (r *roller) sum() error {
	for _, c := range rolled {
		total, err := r.read(store.CounterField(c))
		if err != nil {
			return err
		}
		delta, err := r.read(store.CounterField(c) + "_delta")
		if err != nil {
			return err
		}
		r.moved = append(r.moved[:0], total.nums...) // unknown is 0
		if delta.unknown < delta.len() {
			for row, known := range delta.known {
				if known {
					r.moved[row] = delta.nums[row]
				}
			}
		}
		for _, s := range r.sums {
			for row, n := range r.moved {
				if n != 0 {
					*sumOf(&s.groups[s.of[row]], c) += n
				}
			}
		}
		r.release()
	}
	return nil
}

// sumOf is the sum of a counter.
func sumOf(g *store.Rollup, counter int) *uint64 {
	switch counter {
	case store.BytesSent:
		return &g.BytesSent
	case store.BytesReceived:
		return &g.BytesReceived
	case store.SegmentsSent:
		return &g.SegmentsSent
	case store.SegmentsReceived:
		return &g.SegmentsReceived
	case store.Retransmits:
		return &g.Retransmits
	default:
		return &g.BytesRetransmitted
	}
}

// distribute sums up the durations of the connections that ended.
func (r *roller) distribute() error {
	var scratch summer
	for _, d := range [...]struct {
		name string
		of   func(*store.Rollup) *store.Distribution
	}{
		{"rtt_us", func(g *store.Rollup) *store.Distribution { return &g.RTT }},
		{"duration_us", func(g *store.Rollup) *store.Distribution { return &g.Duration }},
		{"handshake_us", func(g *store.Rollup) *store.Distribution { return &g.Handshake }},
	} {
		v, err := r.read(d.name)
		if err != nil {
			return err
		}
		for _, s := range r.sums {
			for i := range s.groups {
				*d.of(&s.groups[i]) = scratch.distribute(v, s.order[s.starts[i]:s.starts[i+1]])
			}
		}
		r.release()
	}
	return nil
}

func floorMod(a, b int64) int64 { return ((a % b) + b) % b }

func (v *vec) textOf(code uint32) string {
	if code == noCode {
		return ""
	}
	return v.dict[code]
}

// A summer is scratch memory of sums.
type summer struct {
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
