package parquet

import (
	"github.com/parquet-go/parquet-go/format"

	"github.com/viewtcp/viewtcp/internal/store"
)

// bounds are the least and the greatest value of each page of a chunk.
type bounds struct {
	// flip turns values into numbers that compare without a sign.
	flip  uint64
	pages []pageBounds
}

type pageBounds struct {
	none      bool // the page has no value
	low, high uint64
}

func newBounds(t store.Type) bounds {
	if t == store.Time {
		return bounds{flip: 1 << 63}
	}
	return bounds{}
}

// add adds a page with these values.
func (b *bounds) add(values []int64) {
	if len(values) == 0 {
		b.pages = append(b.pages, pageBounds{none: true})
		return
	}
	low, high, flip := ^uint64(0), uint64(0), b.flip
	for _, x := range values {
		u := uint64(x) ^ flip
		low, high = min(low, u), max(high, u)
	}
	b.pages = append(b.pages, pageBounds{low: low ^ flip, high: high ^ flip})
}

// addOf adds a page of which the bounds are known.
func (b *bounds) addOf(low, high uint64) { b.pages = append(b.pages, pageBounds{low: low, high: high}) }

// maxBound is how long a bound may be.
const maxBound = 64

// into writes the bounds into the index of the chunk that was begun last, and those
// of all pages together into its metadata, unless one is longer than maxBound.
func (b *bounds) into(f *segmentWriter, meta *format.ColumnMetaData, stored func(uint64) []byte) {
	var index format.ColumnIndex
	low, high, some := ^uint64(0), uint64(0), false
	for _, p := range b.pages {
		var least, most []byte
		if !p.none {
			least, most, some = stored(p.low), stored(p.high), true
			low, high = min(low, p.low^b.flip), max(high, p.high^b.flip)
		}
		if len(least) > maxBound || len(most) > maxBound {
			return
		}
		index.NullPages = append(index.NullPages, p.none)
		index.MinValues = append(index.MinValues, least)
		index.MaxValues = append(index.MaxValues, most)
	}
	if some {
		meta.Statistics.MinValue, meta.Statistics.MaxValue = stored(low^b.flip), stored(high^b.flip)
	}
	f.columns[len(f.columns)-1] = index
}
