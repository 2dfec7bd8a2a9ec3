//go:build !linux

package main

// monotonicMicros is for a service manager that is nowhere but on Linux.
func monotonicMicros() int64 { return 0 }
