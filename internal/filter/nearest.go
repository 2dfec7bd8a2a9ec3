package filter

// Nearest returns the candidate that word is most likely a misspelling of, or
// "" if none is near. Case does not count.
func Nearest(word string, candidates []string) string { return nearest(word, candidates) }
