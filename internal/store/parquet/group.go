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
	keys  [][]string
	// keep, if not nil, are the groups that stay apart; the others are other.
	keep  map[string]bool
	other int
	mem   *memory
}

func newGroups(mem *memory, keep map[string]bool) *groups {
	return &groups{index: make(map[string]uint32), keep: keep, other: -1, mem: mem}
}

// groupText names a group without doubt, whatever is in its texts.
func groupText(b []byte, key []string) []byte {
	for _, s := range key {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// number finds the number of a group.
func (g *groups) number(key []string) (uint32, error) {
	text := groupText(make([]byte, 0, 64), key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if n, ok := g.index[string(text)]; ok {
		return n, nil
	}
	if g.keep != nil && !g.keep[string(text)] {
		if g.other < 0 {
			g.other = len(g.keys)
			g.keys = append(g.keys, make([]string, len(key)))
		}
		return uint32(g.other), nil
	}
	if err := g.mem.take(int64(len(text)) + 16*int64(len(key)) + 120); err != nil {
		return 0, err
	}
	n := uint32(len(g.keys))
	g.index[string(text)] = n
	g.keys = append(g.keys, key)
	return n, nil
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
// what number says of each.
func (g *grouper) of(r *chunkRows, sel []uint32, number func(key []string) (uint32, error)) (local, gids []uint32, err error) {
	local = make([]uint32, len(sel))
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
	for i := range parts {
		key := make([]string, len(g.fields))
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
	codes = make([]uint32, len(sel))
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
			switch {
			case int(c) >= len(v.dict):
				return ""
			case v.typ == store.Addr:
				return addrOf(v.dict[c]).String()
			default:
				return v.dict[c]
			}
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
