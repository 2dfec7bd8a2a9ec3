// Package usage samples what the host and its processes use: CPU, memory, I/O,
// pressure, and the kernel's TCP counters that explain trouble. Connections are
// read in this context: a server that does not answer may have no CPU to answer
// with.
//
// It owns the files below /proc and the control groups that say so, their
// parsers, and the choice of processes. It keeps nothing: rows go to whoever
// asks. What this kernel or these rights do not show stays unknown.
package usage
