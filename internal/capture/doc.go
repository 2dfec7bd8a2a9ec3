// Package capture brings packets in and out: it reads and writes capture files,
// captures from interfaces, decodes frames down to their TCP segment, and
// records the recent past of all connections.
//
// It knows headers, not connections: what a segment means for its connection is
// internal/analysis's business. Everything on the way of a packet works on
// memory that is used again for the next one, and allocates nothing.
package capture
