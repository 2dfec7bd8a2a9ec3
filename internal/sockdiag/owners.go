package sockdiag

import (
	"context"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// lookup is the work of finding owners: the inodes wanted, and what was found.
// Its maps are used again and again.
type lookup struct {
	want  map[uint32]struct{}
	found map[uint32]tcp.Owner
}

func newLookup() lookup {
	return lookup{want: make(map[uint32]struct{}), found: make(map[uint32]tcp.Owner)}
}

func (l *lookup) reset() {
	clear(l.want)
	clear(l.found)
}

// run asks for all that is wanted. Where several processes hold a socket, the
// first one named stands.
func (l *lookup) run(ctx context.Context, owners Owners) error {
	clear(l.found)
	return owners.Resolve(ctx, l.want, func(inode uint32, o tcp.Owner) {
		if _, wanted := l.want[inode]; !wanted {
			return
		}
		if _, again := l.found[inode]; !again {
			l.found[inode] = o
		}
	})
}

// apply gives the socket its owner, or notes that none was found.
func (l *lookup) apply(k *known) {
	if o, ok := l.found[k.inode]; ok {
		k.owner, k.attribution, k.tries = o, tcp.AttributionScan, 0
		return
	}
	if k.tries < maxTries {
		k.tries++
	}
}

// applyAll gives every socket wanted its owner. With drop, an owner that was not
// found again is forgotten: the process is gone, and who holds the socket now
// is not known.
func (l *lookup) applyAll(s *knownSet, drop bool) {
	for i := range s.slots {
		k := &s.slots[i]
		if !k.used || k.inode == 0 {
			continue
		}
		if _, wanted := l.want[k.inode]; !wanted {
			continue
		}
		if _, ok := l.found[k.inode]; !ok && drop {
			k.owner, k.attribution, k.tries = tcp.Owner{}, tcp.AttributionUnknown, 0
		}
		l.apply(k)
	}
}
