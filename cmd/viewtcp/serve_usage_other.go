//go:build !linux

package main

import (
	"runtime/metrics"
	"time"
)

// ownUsage is what this process uses, as far as its own runtime knows.
func ownUsage() (u processUsage) {
	s := []metrics.Sample{{Name: "/cpu/classes/user:cpu-seconds"}}
	metrics.Read(s)
	if s[0].Value.Kind() == metrics.KindFloat64 {
		u.cpu = time.Duration(s[0].Value.Float64() * float64(time.Second))
	}
	return u
}
