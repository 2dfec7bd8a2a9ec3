package parquet

import (
	"fmt"
	"hash/crc32"
	"net/netip"

	"github.com/parquet-go/parquet-go"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A mustHave is a value that every row that meets a filter has, in a column with a
// bloom filter.
type mustHave struct {
	tag   uint16
	value parquet.Value
}

// mustHaves finds what all rows that meet a filter have in common, as far as bloom
// filters can tell.
func mustHaves(n filter.Node) (all []mustHave) {
	switch n := n.(type) {
	case *filter.And:
		for _, m := range n.Nodes {
			all = append(all, mustHaves(m)...)
		}
	case *filter.Compare:
		if n.Op != filter.Eq && n.Op != filter.AllEq {
			return nil
		}
		switch {
		case n.Ref.Field != nil && n.Ref.Field.Name == "id":
			return []mustHave{{store.TagID, parquet.Int64Value(int64(n.Value.Num))}}
		case n.Ref.Field != nil && n.Ref.Field.Name == "remote_ip", n.Ref.End == filter.EndDst && !n.Ref.Port:
			if p := n.Value.Prefix; p.IsValid() && p.IsSingleIP() {
				return []mustHave{{store.TagRemoteIP, parquet.ByteArrayValue(storedAddr(p.Addr()))}}
			}
		}
	}
	return all
}

// storedAddr is how an address stands in a segment.
func storedAddr(ip netip.Addr) []byte {
	a := tcp.AddrFrom(ip)
	return appendText(nil, store.Addr, string(a[:]))
}

// lacks reports whether a segment cannot have a row with all of the values. Only a
// bloom filter that is as it was written is asked.
func (f *segmentFile) lacks(g *segmentInfo, all []mustHave) (no bool, err error) {
	if len(all) == 0 || len(g.Blooms) != len(f.table.bloom) {
		return false, nil
	}
	defer damaged(&err)
	for i, tag := range f.table.bloom {
		for _, m := range all {
			if m.tag != tag {
				continue
			}
			has, sum := false, crc32.New(castagnoli)
			for rg := range f.file.RowGroups() {
				b := f.bloom(rg, tag)
				if b == nil {
					return false, nil
				}
				data, err := bloomBytes(b)
				if err != nil {
					return false, err
				}
				_, _ = sum.Write(data) // never fails
				ok, err := b.Check(m.value)
				if err != nil {
					return false, fmt.Errorf("bloom filter: %w: %w", store.ErrDamaged, err)
				}
				has = has || ok
			}
			if !has && sum.Sum32() == g.Blooms[i] {
				return true, nil
			}
		}
	}
	return false, nil
}

// bloom finds the bloom filter of a column; nil if there is none.
func (f *segmentFile) bloom(rg int, tag uint16) parquet.BloomFilter {
	for i := range f.table.columns {
		if f.table.columns[i].tag == tag && f.place[i] >= 0 {
			return f.file.RowGroups()[rg].ColumnChunks()[f.place[i]].BloomFilter()
		}
	}
	return nil
}

func bloomBytes(b parquet.BloomFilter) ([]byte, error) {
	data := make([]byte, b.Size())
	if n, err := b.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("bloom filter: %w: %w", store.ErrDamaged, err)
	}
	return data, nil
}

// bloomSums are the checksums of a segment's bloom filters, in the order of its
// table's.
func (f *segmentFile) bloomSums() (sums []uint32, err error) {
	defer damaged(&err)
	for _, tag := range f.table.bloom {
		sum := crc32.New(castagnoli)
		for rg := range f.file.RowGroups() {
			b := f.bloom(rg, tag)
			if b == nil {
				return nil, nil
			}
			data, err := bloomBytes(b)
			if err != nil {
				return nil, err
			}
			_, _ = sum.Write(data) // never fails
		}
		sums = append(sums, sum.Sum32())
	}
	return sums, nil
}
