package bundle

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A Bundle is an incident file that was opened. All of its files were checked
// against its manifest.
type Bundle struct {
	Manifest Manifest
	f        *os.File
	files    map[string]*zip.File
}

// Open opens a bundle and checks all of it. Its errors wrap ErrFormat, ErrVersion
// or ErrTooLarge; a file that is refused costs no more than its bounds.
func Open(ctx context.Context, path string) (*Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := open(ctx, f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the bundle %q: %w", path, err), f.Close())
	}
	b.f = f
	return b, nil
}

func open(ctx context.Context, f *os.File) (*Bundle, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file", ErrFormat)
	}
	return read(ctx, f, st.Size())
}

// read opens and checks the bytes of a bundle.
func read(ctx context.Context, r io.ReaderAt, size int64) (*Bundle, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	b := &Bundle{files: make(map[string]*zip.File)}
	var total uint64
	for _, f := range z.File {
		known := f.Name == ManifestName || slices.Contains(names, f.Name)
		switch {
		case !known:
			return nil, fmt.Errorf("%w: it has a file %.60q, which no bundle has", ErrFormat, f.Name)
		case b.files[f.Name] != nil:
			return nil, fmt.Errorf("%w: %s is there twice", ErrFormat, f.Name)
		case f.UncompressedSize64 > maxFile || total+f.UncompressedSize64 > maxTotal:
			return nil, fmt.Errorf("%w: %s has %d bytes", ErrTooLarge, f.Name, f.UncompressedSize64)
		}
		total += f.UncompressedSize64
		b.files[f.Name] = f
	}
	if total > freeBytes && total/maxRatio > uint64(size) {
		return nil, fmt.Errorf("%w: %d bytes would become %d", ErrTooLarge, size, total)
	}
	if err := b.readManifest(); err != nil {
		return nil, err
	}
	return b, b.verify(ctx)
}

func (b *Bundle) readManifest() error {
	f := b.files[ManifestName]
	if f == nil {
		return fmt.Errorf("%w: it has no %s", ErrFormat, ManifestName)
	}
	if f.UncompressedSize64 > maxManifest {
		return fmt.Errorf("%w: its manifest has %d bytes", ErrTooLarge, f.UncompressedSize64)
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, ManifestName, err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, ManifestName, err)
	}
	m := &b.Manifest
	if err := json.Unmarshal(text, m); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, ManifestName, err)
	}
	switch {
	case m.Format != formatName:
		return fmt.Errorf("%w: its manifest says %.30q", ErrFormat, m.Format)
	case m.Version != formatVersion:
		return fmt.Errorf("%w: %d, written by ViewTCP %.30q; this one knows %d", ErrVersion, m.Version, m.ViewTCP, formatVersion)
	}
	// What is in the zip and what is in the manifest is the same.
	seen := make(map[string]bool)
	for _, f := range m.Files {
		z := b.files[f.Name]
		switch {
		case z == nil || f.Name == ManifestName || seen[f.Name]:
			return fmt.Errorf("%w: the manifest names %.60q, which is not there", ErrFormat, f.Name)
		case z.UncompressedSize64 != f.Size:
			return fmt.Errorf("%w: %s has %d bytes, its manifest says %d", ErrFormat, f.Name, z.UncompressedSize64, f.Size)
		}
		seen[f.Name] = true
	}
	if len(seen) != len(b.files)-1 {
		return fmt.Errorf("%w: the manifest does not name all files", ErrFormat)
	}
	return nil
}

// verify compares each file with its checksum.
func (b *Bundle) verify(ctx context.Context) error {
	for _, f := range b.Manifest.Files {
		r, err := b.File(f.Name)
		if err != nil {
			return err
		}
		h := sha256.New()
		n, err := copyContext(ctx, h, r)
		err = errors.Join(err, r.Close())
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s: %w", ErrFormat, f.Name, err)
		case n != f.Size:
			return fmt.Errorf("%w: %s has %d bytes, its manifest says %d", ErrFormat, f.Name, n, f.Size)
		case hex.EncodeToString(h.Sum(nil)) != f.SHA256:
			return fmt.Errorf("%w: %s does not have the checksum of its manifest", ErrFormat, f.Name)
		}
	}
	return nil
}

func copyContext(ctx context.Context, to io.Writer, from io.Reader) (n uint64, err error) {
	for ctx.Err() == nil {
		m, err := io.CopyN(to, from, 1<<20)
		n += uint64(m)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, ctx.Err()
}

// File opens a file of the bundle; os.ErrNotExist is wrapped when it has none. No
// more than its size comes out.
func (b *Bundle) File(name string) (io.ReadCloser, error) {
	f := b.files[name]
	if f == nil {
		return nil, fmt.Errorf("the bundle has no %s: %w", name, os.ErrNotExist)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(r, int64(f.UncompressedSize64)), r}, nil
}

// ReadRows calls fn for each row of a file, a new one each time; of a file that is
// not there no row. Malformed rows are an error that wraps ErrFormat.
func ReadRows[T any](ctx context.Context, b *Bundle, name string, cols []store.Column[T], fn func(*T) error) error {
	r, err := b.File(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var own error // of fn
	n, err := readRows(r, cols, func(row *T) error {
		if own = ctx.Err(); own == nil {
			own = fn(row)
		}
		return own
	})
	err = errors.Join(err, r.Close())
	switch f, _ := b.Manifest.File(name); {
	case own != nil:
		return own
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrFormat, name, err)
	case n != f.Rows:
		return fmt.Errorf("%w: %s has %d rows, its manifest says %d", ErrFormat, name, n, f.Rows)
	}
	return nil
}

// Close frees the file.
func (b *Bundle) Close() error { return b.f.Close() }
