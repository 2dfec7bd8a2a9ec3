package parquet

import "sync"

// A segmentCache keeps what the metadata of segments says, so that a query over
// months need not read hundreds of footers of a hundred columns again. Files are
// not kept open. It is safe for concurrent use.
type segmentCache struct {
	mu    sync.Mutex
	metas map[segmentKey]*segmentMeta
}

// A segmentKey tells segments apart by all that would differ if the file were
// another one: the checksum, of its end, is computed each time that it is opened.
type segmentKey struct {
	number uint64
	bytes  int64
	footer uint32
}

// cachedSegments bounds the cache: some 4 KB each, and more than the segments of
// 100 million rows.
const cachedSegments = 4096

func keyOf(g *segmentInfo) segmentKey { return segmentKey{g.Number, g.Bytes, g.Footer} }

// get returns what is known of a segment, nil if nothing. A nil cache knows nothing.
func (c *segmentCache) get(g *segmentInfo) *segmentMeta {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metas[keyOf(g)]
}

// put keeps the metadata of a segment, without the checksums of its columns, which
// only whoever verifies all of it needs.
func (c *segmentCache) put(g *segmentInfo, m *segmentMeta) {
	if c == nil {
		return
	}
	kept := *m
	kept.footer.Checksums = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.metas == nil {
		c.metas = make(map[segmentKey]*segmentMeta)
	}
	if len(c.metas) >= cachedSegments {
		clear(c.metas) // most of them are gone: segments are merged and expire
	}
	c.metas[keyOf(g)] = &kept
}
