//go:build race

package filter

// raceEnabled says that sync.Pool drops what it is given at random, so that
// regular expressions allocate.
const raceEnabled = true
