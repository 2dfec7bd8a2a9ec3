// Package procfs reads what Linux shows of TCP sockets and processes below
// /proc: the socket tables of every network namespace (the source of last
// resort), which process holds which socket, and what that process is.
//
// It owns the formats of /proc/net/tcp, /proc/net/tcp6 and of the files of
// /proc/PID that it reads. Parsers are pure functions and build everywhere; what
// reads the files needs Linux and fails elsewhere with tcp.ErrNotSupported.
package procfs
