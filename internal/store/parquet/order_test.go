package parquet

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
)

// TestOrder compares the order of rows with that of a sort of their values, where
// places are counted and where there are too many of them.
func TestOrder(t *testing.T) {
	const rows = 3000
	for _, distinct := range []int{1, 7, 2000} {
		rng := rand.New(rand.NewPCG(2, uint64(distinct)))
		var texts, numbers, times vec
		texts.reset(store.String)
		numbers.reset(store.Uint16)
		times.reset(store.Time)
		for row := range rows {
			if n := rng.IntN(distinct + 1); n == 0 {
				texts.addUnknown(1)
				numbers.addUnknown(1)
			} else {
				texts.codes = append(texts.codes, texts.code(fmt.Sprint("s", n)))
				numbers.addNum(uint64(rng.IntN(distinct)))
			}
			times.addNum(uint64(int64(row/2-700+rng.IntN(30)) * store.Hour)) // before 1970 too
		}
		var k sortKey
		k.add(&texts)
		k.add(&numbers)
		got := k.order(&times)
		want := make([]uint32, rows)
		for row := range want {
			want[row] = uint32(row)
		}
		text := texts.textAt
		number := func(row uint32) int {
			if !numbers.known[row] {
				return -1
			}
			return int(numbers.nums[row])
		}
		slices.SortStableFunc(want, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(text(a), text(b)), cmp.Compare(number(a), number(b)),
				cmp.Compare(int64(times.nums[a]), int64(times.nums[b])))
		})
		if !slices.Equal(got, want) {
			t.Errorf("%d values: order %v…, want %v…", distinct, got[:10], want[:10])
		}
		var alone sortKey
		slices.SortStableFunc(want, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(int64(times.nums[a]), int64(times.nums[b])), cmp.Compare(a, b))
		})
		if got := alone.order(&times); !slices.Equal(got, want) {
			t.Errorf("%d values: by time alone order %v…, want %v…", distinct, got[:10], want[:10])
		}
		seen := 0
		for _, d := range splitDays(got, times.nums) {
			seen += len(d.order)
			for _, row := range d.order {
				if dayOf(int64(times.nums[row])) != d.day {
					t.Fatalf("row of %s is in day %s", dayOf(int64(times.nums[row])), d.day)
				}
			}
			if len(d.order) == 0 {
				t.Errorf("day %s has no rows", d.day)
			}
		}
		if seen != rows {
			t.Errorf("%d rows in days, want %d", seen, rows)
		}
	}
}
