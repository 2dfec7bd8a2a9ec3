//go:build unix

package tail

import (
	"os"
	"syscall"
)

// openRegular opens a file to read. A named pipe that took its name meanwhile
// does not make it wait.
func openRegular(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
