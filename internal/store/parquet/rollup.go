package parquet

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

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
	// ports and classes are the service port and the class of each row.
	ports   []uint64
	classes []uint32

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
// hour only, and networks where many rows are of them: by the minute they would make
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
	r.setPorts()
	r.setClasses()
	minutes := newPartition(r.time.len())
	for _, v := range [...]*vec{r.host, r.service, r.process, r.direction} {
		minutes.split(v.codes, len(v.dict))
	}
	minutes.split(numberCodes(r.ports, nil))
	minutes.split(r.classes, int(store.ClassOther)+1)
	hours := minutes.clone()
	minutes.split(intervalCodes(r.time.nums, store.Minute))
	hours.split(intervalCodes(r.time.nums, store.Hour))
	hours.split(r.country.codes, len(r.country.dict))
	networks := r.networks()
	hours.split(numberCodes(networks, r.asn.known))
	r.sums = [2]*rollupSum{r.by(minutes, store.Minute, nil), r.by(hours, store.Hour, networks)}
	r.ports, r.classes = nil, nil
	return nil
}

// setPorts finds the service ports.
func (r *roller) setPorts() {
	direction := make([]tcp.Direction, len(r.direction.dict))
	for i, s := range r.direction.dict {
		for d := tcp.DirectionUnknown; d <= tcp.Transit; d++ {
			if d.String() == s {
				direction[i] = d
			}
		}
	}
	r.ports = make([]uint64, r.time.len())
	for row, c := range r.direction.codes {
		d := tcp.DirectionUnknown
		if c != noCode {
			d = direction[c]
		}
		r.ports[row] = uint64(store.ServicePort(d, uint16(r.localPort.nums[row]), uint16(r.remotePort.nums[row])))
	}
}

// setClasses finds the classes of the remote ends.
func (r *roller) setClasses() {
	class := make([]uint32, len(r.remote.dict))
	for i, s := range r.remote.dict {
		class[i] = uint32(store.ClassOf(addrOf(s)))
	}
	r.classes = make([]uint32, r.time.len())
	for row, c := range r.remote.codes {
		if c != noCode {
			r.classes[row] = class[c]
		}
	}
}

// networks are the autonomous systems of the rows that have one in a hundred of the
// rows of an hour, or more: the others are put together as 0.
func (r *roller) networks() []uint64 {
	hours := newPartition(r.time.len())
	hours.split(intervalCodes(r.time.nums, store.Hour))
	each := hours.clone()
	each.split(numberCodes(r.asn.nums, r.asn.known))
	total, count := hours.counts(), each.counts()
	networks := make([]uint64, r.time.len())
	for row, n := range r.asn.nums {
		if count[each.of[row]]*100 >= total[hours.of[row]] {
			networks[row] = n
		}
	}
	return networks
}

// by begins the roll-ups of an interval: one of each part, of networks or of none.
func (r *roller) by(p *partition, interval int64, networks []uint64) *rollupSum {
	s := &rollupSum{of: p.of, groups: make([]store.Rollup, p.parts)}
	for i, row := range p.firsts() {
		g := &s.groups[i]
		t := int64(r.time.nums[row])
		g.Time = t - floorMod(t, interval)
		g.RollupKey = store.RollupKey{
			Host: r.host.textAt(row), Service: r.service.textAt(row), Process: r.process.textAt(row),
			Direction: r.direction.textAt(row), ServicePort: uint16(r.ports[row]), Class: store.Class(r.classes[row]),
		}
		if networks != nil {
			g.Country, g.ASN, g.HasASN = r.country.textAt(row), uint32(networks[row]), r.asn.known[row]
		}
	}
	for i, n := range p.counts() {
		s.groups[i].Rows = uint64(n)
	}
	return s
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

// textAt is the text of a row, nothing where it is unknown.
func (v *vec) textAt(row uint32) string { return v.textOf(v.codes[row]) }

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
