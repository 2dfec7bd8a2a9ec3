package main

import "runtime/debug"

// onceLimit is the memory up to which a command that ends soon collects no
// garbage: about half a million connections.
const onceLimit = 512 << 20

// collectLate is for commands that print once and end: their memory goes with
// them, and collecting it before would cost a fifth of their time.
func collectLate() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(onceLimit)
}

// collectLess is for commands that go on: what lives is small against what
// passes through, so memory is traded for CPU.
func collectLess() { debug.SetGCPercent(200) }

// collectMore is for the daemon, beside which others do their work: nearly all of
// its memory is what must be remembered, and half as much again is enough for what
// passes through.
func collectMore() { debug.SetGCPercent(50) }
