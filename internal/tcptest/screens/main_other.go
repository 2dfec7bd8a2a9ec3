//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "screens: the pictures are drawn on Linux")
	os.Exit(1)
}
