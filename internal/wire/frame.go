package wire

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// Version is the version of the protocol that this program speaks.
const Version = 1

const magic = "VTCP"

// maxFrame bounds a frame's payload.
const maxFrame = 16 << 20

// frameType numbers the frames.
type frameType uint8

const (
	frameRequest frameType = iota + 1
	frameHello
	frameBatch
	frameError
	frameEnd
)

// greet sends the preamble.
func greet(w io.Writer) error {
	_, err := w.Write(le.AppendUint16([]byte(magic), Version))
	if err != nil {
		return fmt.Errorf("sending the preamble: %w", err)
	}
	return nil
}

// greeted reads and checks the other end's preamble.
func greeted(r io.Reader) error {
	var b [len(magic) + 2]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("reading the preamble: %w", err)
	}
	if string(b[:len(magic)]) != magic {
		return fmt.Errorf("%w: the other end does not speak ViewTCP's protocol", ErrCorrupt)
	}
	if v := le.Uint16(b[len(magic):]); v != Version {
		return fmt.Errorf("the other end speaks version %d of the protocol, this program version %d: use the same ViewTCP for both", v, Version)
	}
	return nil
}

func writeFrame(w *bufio.Writer, t frameType, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("frame of %d bytes is longer than the limit of %d", len(payload), maxFrame)
	}
	head := append(le.AppendUint32(make([]byte, 0, 5), uint32(len(payload))), byte(t))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

func writeJSON(w *bufio.Writer, t frameType, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := writeFrame(w, t, b); err != nil {
		return err
	}
	return w.Flush()
}

// readFrame reads a frame into buf, which grows as bytes arrive: a length alone
// reserves no memory.
func readFrame(r *bufio.Reader, buf []byte) (frameType, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, buf, err
	}
	n := int(le.Uint32(head[:]))
	if n > maxFrame {
		return 0, buf, fmt.Errorf("%w: frame of %d bytes, the limit is %d", ErrCorrupt, n, maxFrame)
	}
	buf = buf[:0]
	for len(buf) < n {
		step := min(n-len(buf), 64<<10)
		at := len(buf)
		buf = append(buf, make([]byte, step)...)
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			return 0, buf, fmt.Errorf("frame cut after %d of %d bytes: %w", at, n, err)
		}
	}
	return frameType(head[4]), buf, nil
}
