package track

// index finds followed sockets, or what is left of them, by a hash of 64 bits. It
// is a table of chains that run through the indexed values themselves: beside Go's
// maps, adding allocates nothing and both ends of a connection lie in one chain,
// which matters where each connection is added and removed within milliseconds.
// What is found has the hash, and may yet differ in what was hashed.
type index[T any] struct {
	heads []*link[T] // a power of two, or none
	len   int
}

// link is the place of a value in an index; it is part of the value.
type link[T any] struct {
	next *link[T]
	hash uint64
	of   *T
}

// minIndex is the number of chains of an index with anything in it.
const minIndex = 64

// reserve makes room for n values.
func (x *index[T]) reserve(n int) {
	size := max(len(x.heads), minIndex)
	for size < n {
		size *= 2
	}
	if size > len(x.heads) {
		x.grow(size)
	}
}

// add puts a value in front of others with the same hash. The link must not be
// in use.
func (x *index[T]) add(l *link[T], of *T, hash uint64) {
	if x.len >= len(x.heads) {
		x.reserve(x.len + 1)
	}
	head := &x.heads[hash&uint64(len(x.heads)-1)]
	*l = link[T]{next: *head, hash: hash, of: of}
	*head = l
	x.len++
}

// remove takes a value out; a link that is not in use is left alone.
func (x *index[T]) remove(l *link[T]) {
	if l.of == nil {
		return
	}
	p := &x.heads[l.hash&uint64(len(x.heads)-1)]
	for *p != l {
		p = &(*p).next
	}
	*p = l.next
	*l = link[T]{}
	x.len--
}

// first returns the value that was added last of those with a hash, or nil.
func (x *index[T]) first(hash uint64) *link[T] {
	if len(x.heads) == 0 {
		return nil
	}
	return x.heads[hash&uint64(len(x.heads)-1)].from(hash)
}

// another returns the next value with the same hash, or nil.
func (l *link[T]) another() *link[T] { return l.next.from(l.hash) }

func (l *link[T]) from(hash uint64) *link[T] {
	for l != nil && l.hash != hash {
		l = l.next
	}
	return l
}

// grow spreads the values over more chains, in the order that they have.
func (x *index[T]) grow(size int) {
	old := x.heads
	x.heads = make([]*link[T], size)
	ends := make([]*link[T], size)
	for _, l := range old {
		for l != nil {
			next := l.next
			l.next = nil
			at := l.hash & uint64(size-1)
			if ends[at] == nil {
				x.heads[at] = l
			} else {
				ends[at].next = l
			}
			ends[at] = l
			l = next
		}
	}
}
