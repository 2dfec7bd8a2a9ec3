package tcptest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcptest/vt"
)

// Terminal is a pseudoterminal (pty(7)) whose other end is a screen. A program
// runs on Slave.
type Terminal struct {
	Slave  *os.File
	Screen *vt.Screen

	master *os.File
	read   chan struct{} // closed when all was read
}

// OpenTerminal makes one of the given size.
func OpenTerminal(width, height int) (*Terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("a pseudoterminal: %w", err)
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	var slave *os.File
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		_ = master.Close()
		return nil, fmt.Errorf("a pseudoterminal: %w", err)
	}
	t := &Terminal{Slave: slave, Screen: vt.New(width, height), master: master, read: make(chan struct{})}
	if err := t.resize(width, height); err != nil {
		return nil, errors.Join(err, master.Close(), slave.Close())
	}
	go func() {
		defer close(t.read)
		buf := make([]byte, 64<<10)
		for {
			n, err := master.Read(buf)
			_, _ = t.Screen.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return t, nil
}

func (t *Terminal) resize(width, height int) error {
	err := unix.IoctlSetWinsize(int(t.Slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)})
	if err != nil {
		return fmt.Errorf("size of the pseudoterminal: %w", err)
	}
	return nil
}

// Resize changes the size. A program in another process is told by the kernel if
// this is its controlling terminal; one in this process is told here.
func (t *Terminal) Resize(width, height int) error {
	t.Screen.Resize(width, height)
	if err := t.resize(width, height); err != nil {
		return err
	}
	return unix.Kill(os.Getpid(), unix.SIGWINCH)
}

// Type sends keys, as the bytes that a terminal sends for them.
func (t *Terminal) Type(keys string) error {
	_, err := t.master.WriteString(keys)
	return err
}

// Until waits for the screen to fulfil a condition; it reports whether it did so
// in time.
func (t *Terminal) Until(patience time.Duration, ok func(s *vt.Screen) bool) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for !ok(t.Screen) {
		select {
		case <-t.Screen.News():
		case <-timeout.C:
			return ok(t.Screen)
		}
	}
	return true
}

// State is the terminal's settings (termios(3)), to see whether a program put
// them back.
func (t *Terminal) State() (unix.Termios, error) {
	s, err := unix.IoctlGetTermios(int(t.Slave.Fd()), unix.TCGETS)
	if err != nil {
		return unix.Termios{}, err
	}
	return *s, nil
}

// Close hangs up. What was written before is on the screen then.
func (t *Terminal) Close() error {
	err := t.Slave.Close()
	<-t.read
	return errors.Join(err, t.master.Close())
}
