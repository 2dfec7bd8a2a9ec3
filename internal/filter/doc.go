// Package filter is the one expression language of ViewTCP: the grammar of ss
// with the words of pcap-filter and the display fields of Wireshark. It parses a
// text into a typed tree and compiles the tree to a predicate over connections
// that allocates nothing. Other targets (SQL, packets, columns of a store) walk
// the same tree.
//
// The language is described for users in docs/filters.md. The package reads
// neither clock nor network: what an expression means follows from its text and
// from Options.
//
// Unknown values: a comparison with a value that is not known is false, those
// with != included; Not is plain negation of that outcome.
package filter
