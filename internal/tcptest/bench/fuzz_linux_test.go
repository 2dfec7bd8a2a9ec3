package main

import (
	"bytes"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add([]byte("BenchmarkX-2 1 2 ns/op 3 B/op"))
	f.Add([]byte(`{"event":"closed","cookie":"12","bytes_sent":1}`))
	f.Add([]byte("VmRSS: 12 kB\nVmHWM: 13 kB"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseGoBench(bytes.NewReader(b))
		_, _ = parseEvent(b)
		_, _, _ = parseMemory(bytes.NewReader(b))
	})
}
