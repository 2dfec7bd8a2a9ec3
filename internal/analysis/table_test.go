package analysis

import (
	"math/rand/v2"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestTable compares the table with a map, through growth and deletion.
func TestTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var tab table
	tab.init([2]uint64{5, 6})
	want := map[uint32]uint32{} // tag by ref
	lookup := func(tag, ref uint32) bool {
		mask := uint32(len(tab.slots) - 1)
		for i := tag & mask; tab.slots[i].ref != 0; i = (i + 1) & mask {
			if tab.slots[i] == (slot{tag, ref}) {
				return true
			}
		}
		return false
	}
	for ref := uint32(1); ref < 60_000; ref++ {
		tag := rnd.Uint32()
		switch rnd.IntN(10) {
		case 0:
			tag &= 7 // many in one place
		case 1:
			tag |= 1<<32 - 8 // and over the end
		}
		tab.put(tag, ref)
		want[ref] = tag
		if rnd.IntN(3) == 0 {
			for victim, tag := range want {
				tab.drop(tag, victim)
				delete(want, victim)
				break
			}
		}
	}
	tab.drop(1, 1<<31) // not there
	if tab.used != len(want) {
		t.Fatalf("%d used, want %d", tab.used, len(want))
	}
	for ref, tag := range want {
		if !lookup(tag, ref) {
			t.Fatalf("%d is lost", ref)
		}
	}
	n := 0
	for _, s := range tab.slots {
		if s.ref != 0 {
			n++
		}
	}
	if n != len(want) {
		t.Errorf("%d slots taken by %d", n, len(want))
	}
}

// TestHash: both directions are one connection, and addresses that follow each
// other do not fall into one place.
func TestHash(t *testing.T) {
	var tab table
	tab.init([2]uint64{rand.Uint64(), rand.Uint64()})
	const n = 1 << 14
	used := map[uint32]int{}
	for i := range n {
		k := tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 1}),
			LocalPort: 40_000, RemotePort: 443,
		}
		r := k.Reverse()
		if tab.hash(&k) != tab.hash(&r) {
			t.Fatalf("the ways of %v differ", k)
		}
		used[tab.hash(&k)%n]++
	}
	// Of n balls in n bins, a part of 1/e of the bins is empty.
	if empty := n - len(used); empty < n/3 || empty > n*2/5 {
		t.Errorf("%d of %d places are empty", empty, n)
	}
}

func TestPool(t *testing.T) {
	p := newPool[uint64](3 * poolChunk / 2)
	seen := map[uint32]bool{}
	for i := range 3 * poolChunk / 2 {
		n := p.get()
		if n == 0 || seen[n] {
			t.Fatalf("the %dth is %d", i, n)
		}
		seen[n] = true
		*p.at(n) = uint64(n)
	}
	if p.get() != 0 {
		t.Error("more than the limit")
	}
	for n := range seen {
		if *p.at(n) != uint64(n) {
			t.Fatalf("%d holds %d", n, *p.at(n))
		}
		p.put(n)
	}
	if p.used != 0 || !seen[p.get()] {
		t.Errorf("%d used", p.used)
	}
}
