// Package store is history: the rows that are kept of connections, the contract
// of the engines that keep them, and the builder that turns a tracker's events
// and snapshots into rows.
//
// It owns what a row is, which columns it has and what they are numbered, and
// what acknowledged means. It writes no file: engines live in packages below it
// and meet the same conformance suite (internal/tcptest/storetest). It reads no
// clock: time comes with the data.
package store
