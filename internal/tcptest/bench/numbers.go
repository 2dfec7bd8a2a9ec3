package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	if n := len(d); n%2 == 0 {
		return (d[n/2-1] + d[n/2]) / 2
	}
	return d[len(d)/2]
}

// slope is the line of least squares through the points: y per x, and y at 0.
func slope(x, y []float64) (perX, at0 float64) {
	n := float64(len(x))
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx += x[i]
		sy += y[i]
		sxx += x[i] * x[i]
		sxy += x[i] * y[i]
	}
	d := n*sxx - sx*sx
	if d == 0 {
		return 0, 0
	}
	perX = (n*sxy - sx*sy) / d
	return perX, (sy - perX*sx) / n
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/1e6) }

func percent(f float64) string { return fmt.Sprintf("%.2f %%", 100*f) }

func microseconds(d float64) string { return fmt.Sprintf("%.2f µs", d/1e3) }

func mib(b uint64) string { return fmt.Sprintf("%.1f MB", float64(b)/1e6) }

// count puts commas into a number.
func count(n int) string {
	s := strconv.Itoa(n)
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return strings.Join(append([]string{s}, parts...), ",")
}
