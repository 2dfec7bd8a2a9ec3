package parquet

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"net/netip"

	"github.com/parquet-go/parquet-go/bloom"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A mustHave is a value that every row that meets a filter has, in a column with a
// bloom filter.
type mustHave struct {
	tag uint16
	// text is how it is stored, num a number.
	text []byte
	num  uint64
}

// hash is how bloom filters know the value.
func (m *mustHave) hash() uint64 {
	if m.text == nil {
		return bloom.XXH64{}.Sum64Uint64(m.num)
	}
	return bloom.XXH64{}.Sum64(m.text)
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
			return []mustHave{{tag: store.TagID, num: n.Value.Num}}
		case n.Ref.Field != nil && n.Ref.Field.Name == "remote_ip", n.Ref.End == filter.EndDst && !n.Ref.Port:
			if p := n.Value.Prefix; p.IsValid() && p.IsSingleIP() {
				return []mustHave{{tag: store.TagRemoteIP, text: storedAddr(p.Addr())}}
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
// bloom filter that is as it was written is asked, and then the dictionary.
func (s *segmentFile) lacks(g *segmentInfo, all []mustHave) (no bool, err error) {
	if len(all) == 0 || len(g.Blooms) != len(s.table.bloom) {
		return false, nil
	}
	defer damaged(&err)
	for i, tag := range s.table.bloom {
		for _, m := range all {
			if m.tag != tag {
				continue
			}
			hash := m.hash()
			has, sum := false, crc32.New(castagnoli)
			for rg := range s.groups {
				data, err := s.bloomBits(rg, tag)
				if err != nil || data == nil {
					return false, err
				}
				_, _ = sum.Write(data) // never fails
				ok, err := bloom.CheckSplitBlock(bytes.NewReader(data), int64(len(data)), hash)
				if err != nil {
					return false, fmt.Errorf("bloom filter: %w: %w", store.ErrDamaged, err)
				}
				has = has || ok
			}
			if !has && sum.Sum32() == g.Blooms[i] {
				return true, nil
			}
			if has, err = s.hasText(m); !has || err != nil {
				return err == nil, err
			}
		}
	}
	return false, nil
}

// hasText reports whether a segment may have a text, by the dictionaries.
func (s *segmentFile) hasText(m mustHave) (bool, error) {
	if m.text == nil {
		return true, nil
	}
	c := s.table.column(m.tag)
	r := columnReaders.Get().(*columnReader)
	defer columnReaders.Put(r)
	for i := range s.groups {
		col := s.column(&s.groups[i], c)
		if col.size == 0 || col.unknown {
			continue
		}
		if has, err := r.hasText(s.r, &col, m.text); has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// bloomBits reads the bits of the bloom filter of a column; nil if there is none.
func (s *segmentFile) bloomBits(rg int, tag uint16) ([]byte, error) {
	m := s.column(&s.groups[rg], s.table.column(tag))
	if m.bloomSize == 0 {
		return nil, nil
	}
	data := make([]byte, m.bloomSize)
	if n, err := s.r.ReadAt(data, m.bloom); n < len(data) {
		return nil, fmt.Errorf("bloom filter: %w: %w", store.ErrDamaged, err)
	}
	return data, nil
}

// bloomSums are the checksums of a segment's bloom filters, in the order of its
// table's.
func (s *segmentFile) bloomSums() (sums []uint32, err error) {
	for _, tag := range s.table.bloom {
		sum := crc32.New(castagnoli)
		for rg := range s.groups {
			data, err := s.bloomBits(rg, tag)
			if err != nil || data == nil {
				return nil, err
			}
			_, _ = sum.Write(data) // never fails
		}
		sums = append(sums, sum.Sum32())
	}
	return sums, nil
}
