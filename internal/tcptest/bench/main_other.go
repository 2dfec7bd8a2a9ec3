//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: the load and the peers are made of Linux namespaces and ss")
	os.Exit(1)
}
