// Package track merges what sources observe into connections: it gives them
// their identity, follows them from SYN to CLOSED, tells of what happens to
// them, and accounts for what was lost.
//
// It owns no source and no clock: time comes with the data. Readers see it
// through tcp.View only, and never wait for its lock to take a snapshot.
package track
