package parquet

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
)

// TestPartition compares parts with those that a map of all codes makes, for few
// codes and for so many that they do not fit a table.
func TestPartition(t *testing.T) {
	for _, distinct := range []int{1, 3, 5000} {
		rng := rand.New(rand.NewPCG(1, uint64(distinct)))
		const rows = 20_000
		var columns [3][]uint32
		for i := range columns {
			columns[i] = make([]uint32, rows)
			for row := range columns[i] {
				if columns[i][row] = uint32(rng.IntN(distinct + 1)); int(columns[i][row]) == distinct {
					columns[i][row] = noCode
				}
			}
		}
		p := newPartition(rows)
		for _, c := range columns {
			p.split(c, distinct)
		}
		index := make(map[[3]uint32]uint32)
		var firsts []uint32
		var counts []int
		for row := range rows {
			key := [3]uint32{columns[0][row], columns[1][row], columns[2][row]}
			part, ok := index[key]
			if !ok {
				part = uint32(len(index))
				index[key] = part
				firsts, counts = append(firsts, uint32(row)), append(counts, 0)
			}
			counts[part]++
			if p.of[row] != part {
				t.Fatalf("%d codes: row %d is of part %d, want %d", distinct, row, p.of[row], part)
			}
		}
		if p.parts != len(index) || !slices.Equal(p.firsts(), firsts) || !slices.Equal(p.counts(), counts) {
			t.Errorf("%d codes: %d parts, want %d, or their rows differ", distinct, p.parts, len(index))
		}
	}
}

func TestIntervalCodes(t *testing.T) {
	minute := uint64(store.Minute)
	times := []uint64{5 * minute, 6*minute - 1, 6 * minute, 5*minute + 1, 0, ^uint64(0), math.MaxInt64, 1 << 63, 1<<63 + minute}
	got, n := intervalCodes(times, store.Minute)
	index := make(map[int64]uint32)
	for i, x := range times {
		begin := int64(x) - floorMod(int64(x), store.Minute)
		if _, ok := index[begin]; !ok {
			index[begin] = uint32(len(index))
		}
		if got[i] != index[begin] {
			t.Errorf("time %d is in interval %d, want %d", int64(x), got[i], index[begin])
		}
	}
	if n != len(index) {
		t.Errorf("%d intervals, want %d", n, len(index))
	}
}

func TestNumberCodes(t *testing.T) {
	codes, n := numberCodes([]uint64{7, 0, 7, 1 << 63, 0}, []bool{true, true, true, true, false})
	if want := []uint32{0, 1, 0, 2, noCode}; !slices.Equal(codes, want) || n != 3 {
		t.Errorf("codes %v of %d, want %v of 3", codes, n, want)
	}
	if codes, n = numberCodes([]uint64{4, 4}, nil); !slices.Equal(codes, []uint32{0, 0}) || n != 1 {
		t.Errorf("codes %v of %d, want [0 0] of 1", codes, n)
	}
}
