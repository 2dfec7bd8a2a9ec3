package filter

import (
	"slices"
	"strings"
)

// nearest returns the candidate that word is most likely a misspelling of, or
// "". Case does not count. Among equally near ones, those that begin alike come
// first: few people mistype the first letter.
func nearest(word string, candidates []string) string {
	word = strings.ToLower(word)
	if len(word) < 2 || len(word) > 40 {
		return ""
	}
	best, bestDist := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		low := strings.ToLower(c)
		if d := len(low) - len(word); d > bestDist || -d > bestDist {
			continue
		}
		d := distance(word, low)
		if d < bestDist || d == bestDist && best != "" && nearer(word, low, strings.ToLower(best)) {
			best, bestDist = c, d
		}
	}
	return best
}

// nearer decides between two candidates at the same distance.
func nearer(word, a, b string) bool {
	if x, y := a[0] == word[0], b[0] == word[0]; x != y {
		return x
	}
	return a < b
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbors between a and b (optimal string alignment), on bytes.
func distance(a, b string) int {
	var rows [3][]int
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
	}
	prev2, prev, cur := rows[0], rows[1], rows[2]
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, prev2[j-1]+1)
			}
			cur[j+1] = d
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}

// sortedUnique sorts names and drops repetitions, in place.
func sortedUnique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
