//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "store: processor time is measured on Linux only")
	os.Exit(1)
}
