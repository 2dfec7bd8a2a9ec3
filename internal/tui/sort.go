package tui

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// sortKey is the value that a row is sorted by, taken out of its connection once
// for many comparisons.
type sortKey struct {
	text  string
	hi    uint64
	lo    uint64
	known bool
}

// sorter is an order of rows.
type sorter struct {
	col     *column
	reverse bool
}

// defaultSorter puts what opened last first.
func defaultSorter() sorter { return sorter{col: columnByName("duration_us")} }

// descends reports whether the largest values of the column are of most
// interest, and so first.
func (s sorter) descends() bool {
	f := s.col.field
	if f == nil || f.Num == nil {
		return false
	}
	switch f.Kind {
	case tcp.KindBytes, tcp.KindRate, tcp.KindBool, tcp.KindTime:
		return true
	case tcp.KindDuration:
		return f.Name != "duration_us"
	case tcp.KindUint:
		return f.Group != tcp.GroupIdentity && f.Group != tcp.GroupProcess && f.Name != "asn" && f.Name != "stream"
	default:
		return false
	}
}

// arrow points to where values grow.
func (s sorter) arrow() string {
	if s.reverse != s.descends() {
		return "▾"
	}
	return "▴"
}

// key takes the sorted value out of a row.
func (s sorter) key(r *row) sortKey {
	c := r.conn
	if s.col.field == nil {
		return endKey(s.col.name, c)
	}
	f := s.col.field
	switch {
	case f.Name == "duration_us":
		// By the opening, so that a row keeps its place when it closes.
		return sortKey{hi: ^uint64(c.Opened.Boot), known: !c.Opened.IsZero()}
	case f.Kind == tcp.KindState:
		return sortKey{hi: stateOrder[c.State], known: c.State != tcp.StateUnknown}
	case f.Num != nil:
		v, ok := f.Num(c)
		return sortKey{hi: v, known: ok && !outlived(f, c)}
	case f.Str != nil:
		t, ok := f.Str(c)
		return sortKey{text: t, known: ok}
	default:
		a, ok := f.Addr(c)
		return sortKey{hi: binary.BigEndian.Uint64(a[:8]), lo: binary.BigEndian.Uint64(a[8:]), known: ok}
	}
}

func endKey(name string, c *tcp.Conn) sortKey {
	a, known := c.Local, true
	if name == "remote" {
		a, known = c.Remote, c.State != tcp.Listen
	}
	return sortKey{hi: binary.BigEndian.Uint64(a[:8]), lo: binary.BigEndian.Uint64(a[8:]), known: known}
}

// stateOrder is the order of a connection's life.
var stateOrder = func() (o [tcp.NumStates]uint64) {
	for i, name := range tcp.StateNames() {
		for s := tcp.State(1); s < tcp.NumStates; s++ {
			if s.String() == name {
				o[s] = uint64(i)
			}
		}
	}
	return o
}()

// compare orders two rows: by the key, the unknown last whichever way, and what
// is equal always the same way.
func (s sorter) compare(a, b *row) int {
	x, y := &a.key, &b.key
	switch {
	case x.known != y.known:
		if x.known {
			return -1
		}
		return 1
	case x.known:
		d := cmp.Compare(x.hi, y.hi)
		if d == 0 {
			d = cmp.Compare(x.lo, y.lo)
		}
		if d == 0 {
			d = strings.Compare(x.text, y.text)
		}
		if d != 0 {
			if s.reverse != s.descends() {
				return -d
			}
			return d
		}
	}
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank)
	}
	return cmp.Compare(a.order, b.order)
}

// usualOrder is by process and then by end.
func usualOrder(a, b *row) int {
	c, d := a.conn, b.conn
	if c.Process != d.Process {
		switch {
		case c.Process == nil:
			return 1
		case d.Process == nil:
			return -1
		}
		if n := strings.Compare(c.Process.Name, d.Process.Name); n != 0 {
			return n
		}
	}
	return cmp.Or(
		bytes.Compare(c.Remote[:], d.Remote[:]),
		cmp.Compare(c.RemotePort, d.RemotePort),
		cmp.Compare(c.LocalPort, d.LocalPort),
		cmp.Compare(a.order, b.order),
	)
}
