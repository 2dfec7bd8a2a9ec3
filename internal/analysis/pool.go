package analysis

// pool hands out small values without pointers by number, from chunks that are
// never moved or given back, so that neither growing nor collecting garbage
// touches them. Number 0 is none.
type pool[T any] struct {
	chunks []*[poolChunk]T
	free   []uint32
	// next is the lowest number that was never handed out, from 1.
	next  uint32
	limit uint32
	used  uint32
}

const poolChunk = 1 << 8

// newPool returns a pool of at most limit values.
func newPool[T any](limit uint32) pool[T] { return pool[T]{next: 1, limit: max(limit, 1)} }

// get returns the number of a value, which is as its last owner left it; 0 when
// the limit is reached.
func (p *pool[T]) get() uint32 {
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		p.used++
		return i
	}
	if p.used >= p.limit {
		return 0
	}
	i := p.next
	if int(i/poolChunk) >= len(p.chunks) {
		p.chunks = append(p.chunks, new([poolChunk]T))
	}
	p.next++
	p.used++
	return i
}

func (p *pool[T]) at(i uint32) *T { return &p.chunks[i/poolChunk][i%poolChunk] }

func (p *pool[T]) put(i uint32) {
	p.free = append(p.free, i)
	p.used--
}
