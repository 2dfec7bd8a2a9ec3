package tcp

import (
	"math"
	"testing"
)

// TestIDText pins the text form, which stores and scripts keep.
func TestIDText(t *testing.T) {
	for id, want := range map[ID]string{
		0: "c0000000000000", 1: "c0000000000001", 31: "c000000000000v", 32: "c0000000000010",
		0x0123456789abcdef: "c028q5cu4qnjff", math.MaxUint64: "cfvvvvvvvvvvvv",
	} {
		if got := id.String(); got != want {
			t.Errorf("ID(%#x) is %s, want %s", uint64(id), got, want)
		}
		if back, ok := ParseID(want); !ok || back != id {
			t.Errorf("ParseID(%s) = %#x, %v", want, uint64(back), ok)
		}
	}
	for _, s := range []string{
		"", "c", "c000000000000", "c00000000000000", "d0000000000000", "C0000000000000", "c000000000000w",
		"c000000000000V", "cg000000000000", "c00000000000 0", "closed_by_remo",
	} {
		if id, ok := ParseID(s); ok {
			t.Errorf("ParseID(%q) = %#x", s, uint64(id))
		}
	}
}

// TestIDsAreStable pins the derivation: a store outlives the program.
func TestIDsAreStable(t *testing.T) {
	a := NewIDs("0f0e0d0c-0b0a-0908-0706-050403020100")
	if x, y := a.Socket(4026531840, 7), NewIDs("0f0e0d0c-0b0a-0908-0706-050403020100").Socket(4026531840, 7); x != y {
		t.Errorf("the same socket is %v and %v", x, y)
	}
	key := Key{Tuple: Tuple{Local: Addr{15: 1}, Remote: Addr{15: 2}, LocalPort: 3, RemotePort: 4}, NetNS: 5}
	ids := map[string]ID{
		"socket": a.Socket(4026531840, 7), "other cookie": a.Socket(4026531840, 8), "other namespace": a.Socket(4026531841, 7),
		"other boot": NewIDs("x").Socket(4026531840, 7), "swapped": a.Socket(7, 4026531840),
		"packets": a.Packets(key.Tuple, 6), "other time": a.Packets(key.Tuple, 7), "other initiator": a.Packets(key.Reverse(), 6),
		"other capture": NewIDs("x").Packets(key.Tuple, 6),
		"unstable":      a.Unstable(key, 6), "other inode": a.Unstable(key, 7), "reversed": a.Unstable(Key{Tuple: key.Reverse(), NetNS: 5}, 6),
	}
	seen := map[ID]string{}
	for name, id := range ids {
		if other, ok := seen[id]; ok || id == 0 {
			t.Errorf("%s and %s are both %v", name, other, id)
		}
		seen[id] = name
	}
}

// TestIDsDoNotCollide counts collisions among the cookies of a long-lived host:
// of 2^20 random 64-bit numbers, two are equal once in 30 million tries.
func TestIDsDoNotCollide(t *testing.T) {
	ids := NewIDs("boot")
	seen := make(map[ID]struct{}, 1<<20)
	for netns := range uint32(4) {
		for cookie := range uint64(1 << 18) {
			seen[ids.Socket(4026531840+netns, cookie)] = struct{}{}
		}
	}
	if len(seen) != 1<<20 {
		t.Errorf("%d collisions", 1<<20-len(seen))
	}
}

func FuzzID(f *testing.F) {
	f.Add(uint64(0), "c0000000000000")
	f.Add(uint64(math.MaxUint64), "cfvvvvvvvvvvvv")
	f.Fuzz(func(t *testing.T, n uint64, s string) {
		if back, ok := ParseID(ID(n).String()); !ok || uint64(back) != n {
			t.Fatalf("%#x came back as %#x, %v", n, uint64(back), ok)
		}
		if id, ok := ParseID(s); ok && id.String() != s {
			t.Fatalf("%q came back as %q", s, id)
		}
	})
}
