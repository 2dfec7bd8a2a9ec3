package parquet

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// groups numbers the groups of a query. It is safe for concurrent use.
type groups struct {
	mu    sync.Mutex
	index map[string]uint32
	names []string // as groupText writes them
	// addr says of which fields the values are addresses, of 16 bytes: they are
	// written out only of the groups that are shown.
	addr []bool
	// keep, if not nil, are the groups that stay apart; the others are other.
	keep  map[string]bool
	other int
	mem   *memory
}

func newGroups(mem *memory, keep map[string]bool, by []*tcp.Field) *groups {
	return &groups{index: make(map[string]uint32), addr: addrFields(by), keep: keep, other: -1, mem: mem}
}

// addrFields says which fields are columns of addresses.
func addrFields(by []*tcp.Field) []bool {
	t := tables[store.Connections]
	addr := make([]bool, len(by))
	for i, f := range by {
		p := t.place(f.Name)
		addr[i] = p >= 0 && t.columns[p].typ == store.Addr
	}
	return addr
}

// groupText names a group without doubt, whatever is in its texts.
func groupText(b []byte, key []string) []byte {
	for _, s := range key {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// nameOf is the name of a group that was shown.
func nameOf(by []*tcp.Field, key []string) (string, error) {
	key = slices.Clone(key)
	for i, is := range addrFields(by) {
		if !is || key[i] == "" {
			continue
		}
		a, err := parseAddr([]byte(key[i]))
		if err != nil {
			return "", err
		}
		key[i] = string(a[:])
	}
	return string(groupText(nil, key)), nil
}

// key is what a group is shown as.
func (g *groups) key(n uint32) []string {
	key := make([]string, len(g.addr))
	if int(n) == g.other {
		return key
	}
	r := byteReader{b: []byte(g.names[n])}
	for i := range key {
		text := r.bytes(r.uvarint())
		if key[i] = string(text); g.addr[i] && len(text) > 0 {
			key[i] = addrOf(key[i]).String()
		}
	}
	return key
}

// number finds the number of a group. key may be changed afterwards.
func (g *groups) number(key []string) (uint32, error) {
	text := groupText(make([]byte, 0, 64), key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if n, ok := g.index[string(text)]; ok {
		return n, nil
	}
	if g.keep != nil && !g.keep[string(text)] {
		return g.others(), nil
	}
	if err := g.mem.take(int64(len(text)) + 16*int64(len(key)) + 120); err != nil {
		return 0, err
	}
	n := uint32(len(g.names))
	name := string(text)
	g.index[name] = n
	g.names = append(g.names, name)
	return n, nil
}

// others is the number of the group of all that do not stay apart.
func (g *groups) others() uint32 {
	if g.other < 0 {
		g.other = len(g.names)
		g.names = append(g.names, "")
	}
	return uint32(g.other)
}

// A grouper finds the groups of the rows of a chunk.
type grouper struct {
	table  *table
	fields []*tcp.Field
	places []int
	// conn are the columns of connections that fields without a column follow
	// from, nil is all.
	conn []bool
}

func newGrouper(t *table, fields []*tcp.Field) *grouper {
	g := &grouper{table: t, fields: fields}
	for _, f := range fields {
		g.places = append(g.places, t.place(f.Name))
	}
	if t.Table == store.Connections {
		g.conn = columnsOfFields(append([]*tcp.Field{}, fields...), nil)
	}
	return g
}

// of returns, for each of some rows, the place of its group in gids, which are
// what number says of each. Addresses are handed to it as 16 bytes.
func (g *grouper) of(r *chunkRows, sel []uint32, number func(key []string) (uint32, error)) (local, gids []uint32, err error) {
	local = sized(&r.room.local, len(sel))
	clear(local)
	type part struct{ parent, code uint32 }
	parts := []part{{}}
	var levels [][]part
	var texts []func(code uint32) string
	for i, f := range g.fields {
		codes, n, text, err := g.codes(r, i, f, sel)
		if err != nil {
			return nil, nil, err
		}
		texts = append(texts, text)
		next := make([]part, 0, 16)
		if size := len(parts) * (n + 1); size <= 1<<20 {
			seen := make([]uint32, size)
			for j, c := range codes {
				if c == noCode {
					c = uint32(n)
				}
				at := int(local[j])*(n+1) + int(c)
				if seen[at] == 0 {
					next = append(next, part{local[j], c})
					seen[at] = uint32(len(next))
				}
				local[j] = seen[at] - 1
			}
		} else {
			seen := make(map[part]uint32)
			for j, c := range codes {
				if c == noCode {
					c = uint32(n)
				}
				p := part{local[j], c}
				at, ok := seen[p]
				if !ok {
					at = uint32(len(next))
					next = append(next, p)
					seen[p] = at
				}
				local[j] = at
			}
		}
		levels = append(levels, next)
		parts = next
	}
	if len(g.fields) == 0 {
		n, err := number(nil)
		return local, []uint32{n}, err
	}
	gids = make([]uint32, len(parts))
	key := make([]string, len(g.fields))
	for i := range parts {
		at := uint32(i)
		for l, level := range slices.Backward(levels) {
			p := level[at]
			key[l] = texts[l](p.code)
			at = p.parent
		}
		if gids[i], err = number(key); err != nil {
			return nil, nil, err
		}
	}
	return local, gids, nil
}

// codes numbers the values of a field from 0 to n-1, noCode where unknown; text
// writes one, nothing for n.
func (g *grouper) codes(r *chunkRows, i int, f *tcp.Field, sel []uint32) (codes []uint32, n int, text func(uint32) string, err error) {
	codes = sized(&r.room.codes, len(sel))
	if g.places[i] < 0 {
		return g.derived(r, f, sel, codes)
	}
	v, err := r.col(g.places[i])
	if err != nil {
		return nil, 0, nil, err
	}
	if textual(v.typ) {
		for j, row := range sel {
			codes[j] = v.codes[row]
		}
		return codes, len(v.dict), func(c uint32) string {
			if int(c) >= len(v.dict) {
				return ""
			}
			return v.dict[c]
		}, nil
	}
	index := make(map[uint64]uint32)
	var values []uint64
	last, lastCode := uint64(0), noCode
	for j, row := range sel {
		if !v.known[row] {
			codes[j] = noCode
			continue
		}
		x := v.nums[row]
		if lastCode == noCode || x != last {
			c, ok := index[x]
			if !ok {
				c = uint32(len(values))
				values = append(values, x)
				index[x] = c
			}
			last, lastCode = x, c
		}
		codes[j] = lastCode
	}
	return codes, len(values), func(c uint32) string {
		if int(c) >= len(values) {
			return ""
		}
		return string(f.AppendNum(nil, values[c]))
	}, nil
}

// derived is codes of a field that follows from others.
func (g *grouper) derived(r *chunkRows, f *tcp.Field, sel, codes []uint32) (_ []uint32, n int, text func(uint32) string, err error) {
	index := make(map[string]uint32)
	var values []string
	rec, err := r.connections(g.conn)
	if err != nil {
		return nil, 0, nil, err
	}
	var b []byte
	for j, row := range sel {
		var ok bool
		b, ok = f.AppendText(b[:0], rec(int(row)).Conn)
		if !ok {
			codes[j] = noCode
			continue
		}
		c, ok := index[string(b)]
		if !ok {
			c = uint32(len(values))
			values = append(values, string(b))
			index[string(b)] = c
		}
		codes[j] = c
	}
	return codes, len(values), func(c uint32) string {
		if int(c) >= len(values) {
			return ""
		}
		return values[c]
	}, nil
}
