package bundle

import (
	"archive/zip"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A Writer writes one bundle. Files are added one after the other; Close writes
// the manifest. After an error the file is of no use.
type Writer struct {
	zip *zip.Writer
	m   Manifest
	sum uint64 // bytes of all files
}

// NewWriter begins a bundle. The manifest's Format, Version and Files are the
// writer's.
func NewWriter(w io.Writer, m Manifest) *Writer {
	m.Format, m.Version, m.Files = formatName, formatVersion, nil
	return &Writer{zip: zip.NewWriter(w), m: m}
}

// Missing says in one sentence what the bundle does not have.
func (w *Writer) Missing(sentence string) {
	if !slices.Contains(w.m.Missing, sentence) {
		w.m.Missing = append(w.m.Missing, sentence)
	}
}

// Gap notes a time that is not complete.
func (w *Writer) Gap(g Gap) {
	if !slices.Contains(w.m.Gaps, g) {
		w.m.Gaps = append(w.m.Gaps, g)
	}
}

// counter counts and hashes what is written, within bounds.
type counter struct {
	w    io.Writer
	hash hash.Hash
	n    uint64
	name string
	left uint64
}

func (c *counter) Write(b []byte) (int, error) {
	if uint64(len(b)) > c.left {
		return 0, fmt.Errorf("%s: %w: it holds %d MB at most; ask for a shorter time or fewer connections", c.name, ErrTooLarge, maxFile>>20)
	}
	n, err := c.w.Write(b)
	c.hash.Write(b[:n])
	c.n += uint64(n)
	c.left -= uint64(n)
	return n, err
}

// Add adds a file under one of the names, with what fn writes.
func (w *Writer) Add(name string, fn func(io.Writer) error) error {
	return w.add(name, func(to io.Writer) (uint64, error) { return 0, fn(to) })
}

func (w *Writer) add(name string, fn func(io.Writer) (rows uint64, err error)) error {
	if _, twice := w.m.File(name); twice || !slices.Contains(names, name) {
		return fmt.Errorf("adding %q to a bundle: %w", name, ErrFormat)
	}
	// The time of each file is the bundle's own.
	to, err := w.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: w.m.Created})
	if err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	c := &counter{w: to, hash: sha256.New(), name: name, left: min(maxFile, maxTotal-w.sum)}
	buf := bufio.NewWriterSize(c, 64<<10)
	rows, err := fn(buf)
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return fmt.Errorf("adding %s: %w", name, err)
	}
	w.sum += c.n
	w.m.Files = append(w.m.Files, File{Name: name, Size: c.n, SHA256: hex.EncodeToString(c.hash.Sum(nil)), Rows: rows})
	return nil
}

// AddRows adds a file of rows: each calls its argument with every row.
func AddRows[T any](w *Writer, name string, cols []store.Column[T], each func(func(*T) error) error) error {
	return w.add(name, func(to io.Writer) (rows uint64, err error) {
		var b []byte
		err = each(func(row *T) error {
			rows++
			b = append(appendRow(b[:0], cols, row), '\n')
			if len(b) > maxRow {
				return fmt.Errorf("row of %d bytes: %w", len(b), ErrTooLarge)
			}
			_, err := to.Write(b)
			return err
		})
		return rows, err
	})
}

// Rows counts the rows of a file that was added.
func (w *Writer) Rows(name string) uint64 {
	f, _ := w.m.File(name)
	return f.Rows
}

// Close ends the bundle with its manifest.
func (w *Writer) Close() error {
	b, err := json.MarshalIndent(&w.m, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	to, err := w.zip.CreateHeader(&zip.FileHeader{Name: ManifestName, Method: zip.Deflate, Modified: w.m.Created})
	if err == nil {
		_, err = to.Write(append(b, '\n'))
	}
	if err == nil {
		err = w.zip.Close()
	}
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}
