package track

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestIndexAgainstMap adds and removes at random, with many values of one hash,
// and holds what is found, and its order, against lists in a map.
func TestIndexAgainstMap(t *testing.T) {
	type value struct {
		link link[value]
		hash uint64
	}
	r := rand.New(rand.NewPCG(1, 2))
	var x index[value]
	want := map[uint64][]*value{} // the latest first
	var all []*value
	for range 20_000 {
		if len(all) == 0 || r.IntN(5) < 3 {
			v := &value{hash: r.Uint64N(3000) << (r.UintN(2) * 20)}
			x.add(&v.link, v, v.hash)
			want[v.hash] = append([]*value{v}, want[v.hash]...)
			all = append(all, v)
			continue
		}
		i := r.IntN(len(all))
		v := all[i]
		all[i] = all[len(all)-1]
		all = all[:len(all)-1]
		x.remove(&v.link)
		x.remove(&v.link) // of no effect
		at := slices.Index(want[v.hash], v)
		want[v.hash] = slices.Delete(want[v.hash], at, at+1)
	}
	if x.len != len(all) {
		t.Errorf("%d values, want %d", x.len, len(all))
	}
	for hash, vs := range want {
		var got []*value
		for l := x.first(hash); l != nil; l = l.another() {
			got = append(got, l.of)
		}
		if !slices.Equal(vs, got) {
			t.Errorf("hash %d: %d values, want %d in their order", hash, len(got), len(vs))
		}
	}
}

func TestTupleHashIsOfBothEnds(t *testing.T) {
	tab := newTable(tcp.NewIDs("boot"), 0)
	tuple := tcp.Tuple{Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{198, 51, 100, 1}), LocalPort: 40000, RemotePort: 443}
	reverse := tuple.Reverse()
	if tab.hash(&tuple) != tab.hash(&reverse) {
		t.Error("the ends of a connection have different hashes")
	}
	other := tuple
	other.LocalPort++
	if tab.hash(&tuple) == tab.hash(&other) {
		t.Error("another port gives the same hash")
	}
}
