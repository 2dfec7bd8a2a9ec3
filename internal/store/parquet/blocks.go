package parquet

import "github.com/viewtcp/viewtcp/internal/store"

// blockSource is the rows of some blocks, one after the other.
type blockSource struct{ blocks []block }

func (s blockSource) read(v *vec, c *column) (*vec, error) {
	rows := 0
	for i := range s.blocks {
		rows += s.blocks[i].rows
	}
	v.reserve(rows)
	for i := range s.blocks {
		if err := s.blocks[i].decode(v, c.tag); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (s blockSource) complete(c *column) bool {
	for i := range s.blocks {
		if bc := s.blocks[i].column(c.tag); bc == nil || bc.enc&encKnown != 0 {
			return false
		}
	}
	return true
}

// cachedSource keeps columns that are read more than once.
type cachedSource struct {
	source
	pool *vecPool
	kept map[uint16]*vec // nil: to be kept when it is read
}

func newCachedSource(s source, pool *vecPool, tags ...uint16) *cachedSource {
	c := &cachedSource{source: s, pool: pool, kept: make(map[uint16]*vec, len(tags))}
	for _, tag := range tags {
		c.kept[tag] = nil
	}
	return c
}

func (s *cachedSource) read(v *vec, c *column) (*vec, error) {
	kept, keep := s.kept[c.tag]
	if !keep {
		return s.source.read(v, c)
	}
	if kept != nil {
		return kept, nil
	}
	own := s.pool.get(c.typ)
	got, err := s.source.read(own, c)
	if err == nil {
		s.kept[c.tag] = got
	}
	return got, err
}

// release gives the memory back. No column that was read may be used after it.
func (s *cachedSource) release() {
	for _, v := range s.kept {
		if v != nil {
			s.pool.put(v)
		}
	}
	s.kept = nil
}

// vecPool keeps the memory of columns, of numbers and of texts. It is not safe for
// concurrent use.
type vecPool struct{ numbers, texts []*vec }

func (p *vecPool) get(t store.Type) *vec {
	idle := p.idle(t)
	v := new(vec)
	if n := len(*idle); n > 0 {
		v, *idle = (*idle)[n-1], (*idle)[:n-1]
	}
	v.reset(t)
	return v
}

func (p *vecPool) put(v *vec) {
	idle := p.idle(v.typ)
	*idle = append(*idle, v)
}

func (p *vecPool) idle(t store.Type) *[]*vec {
	if textual(t) {
		return &p.texts
	}
	return &p.numbers
}
