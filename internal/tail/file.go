package tail

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// A file is followed by its name: whatever has it is read, after the rest of
// what had it before.
type file struct {
	path  string
	rules []*matcher
	stats *counters
	log   *slog.Logger
	// fromStart says that a file found now is new, or to be read as a whole.
	fromStart bool

	f      *os.File
	info   fs.FileInfo
	offset int64
	// tailBytes are the last bytes before offset, to see a file that was cut and
	// written anew beyond it.
	tailBytes []byte
	// line is what there is of a line without its end; skip says that the rest
	// of a line that was too long is to be passed over.
	line []byte
	skip bool

	buf  []byte
	told string // the trouble that was told last
}

const (
	readSize = 64 << 10
	// pollBytes bounds what one look reads of one file, so that others have their
	// turn.
	pollBytes = 8 << 20
	// fingerprint is how many bytes before the offset are remembered.
	fingerprint = 64
)

// poll hands on the lines that were written since the last look.
func (f *file) poll(line func([]byte)) {
	now, err := os.Stat(f.path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		f.complain(err)
	case err == nil && !now.Mode().IsRegular():
		f.complain(errors.New("it is no regular file"))
		f.fromStart = true // what takes its place is new
		return
	}
	if f.f != nil && (err != nil || !os.SameFile(now, f.info)) {
		// Somebody renamed or removed it. What was written until then is read, an
		// unfinished line counts as one.
		if !f.read(line) {
			return // there is more
		}
		f.finish(line)
		f.close()
		f.fromStart = true
		f.stats.rotations.Add(1)
	}
	if err != nil {
		f.fromStart = true // when it comes it is new
		return
	}
	if f.f == nil && !f.open() {
		return
	}
	f.checkCut(now.Size())
	f.read(line)
}

// open opens the file of the name. It begins at its end unless it is new.
func (f *file) open() bool {
	h, err := openRegular(f.path)
	if err != nil {
		f.complain(err)
		return false
	}
	info, err := h.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is no regular file")
	}
	if err != nil {
		_ = h.Close()
		f.complain(err)
		return false
	}
	f.f, f.info, f.offset, f.told = h, info, 0, ""
	f.line, f.skip, f.tailBytes = f.line[:0], false, f.tailBytes[:0]
	if !f.fromStart {
		f.seekEnd(info.Size())
	}
	f.fromStart = true
	return true
}

// seekEnd passes over what is there. If the last line is not finished, its rest
// is no line.
func (f *file) seekEnd(size int64) {
	f.offset = size
	n := min(size, fingerprint)
	b := make([]byte, n)
	if n == 0 {
		return
	}
	if _, err := f.f.ReadAt(b, size-n); err != nil && !errors.Is(err, io.EOF) {
		return
	}
	f.tailBytes = append(f.tailBytes[:0], b...)
	f.skip = b[n-1] != '\n'
}

// checkCut begins again with a file that was cut short, or was and has been
// written beyond where it ended (as logrotate's copytruncate makes it).
func (f *file) checkCut(size int64) {
	cut := size < f.offset
	if n := int64(len(f.tailBytes)); !cut && n > 0 {
		var now [fingerprint]byte
		m, err := f.f.ReadAt(now[:n], f.offset-n)
		cut = int64(m) < n && errors.Is(err, io.EOF) || int64(m) == n && !bytes.Equal(now[:n], f.tailBytes)
	}
	if !cut {
		return
	}
	f.offset, f.skip = 0, false
	f.line, f.tailBytes = f.line[:0], f.tailBytes[:0]
	f.stats.truncations.Add(1)
}

// read hands on the lines up to the end of the file; it reports whether it got
// there.
func (f *file) read(line func([]byte)) (end bool) {
	if f.buf == nil {
		f.buf = make([]byte, readSize)
	}
	for total := 0; total < pollBytes; {
		n, err := f.f.ReadAt(f.buf, f.offset)
		if n > 0 {
			total += n
			f.offset += int64(n)
			f.remember(f.buf[:n])
			f.split(f.buf[:n], line)
		}
		switch {
		case errors.Is(err, io.EOF):
			return true
		case err != nil:
			f.complain(err)
			return true
		}
	}
	return false
}

func (f *file) remember(b []byte) {
	if len(b) >= fingerprint {
		f.tailBytes = append(f.tailBytes[:0], b[len(b)-fingerprint:]...)
		return
	}
	f.tailBytes = append(f.tailBytes, b...)
	if over := len(f.tailBytes) - fingerprint; over > 0 {
		f.tailBytes = append(f.tailBytes[:0], f.tailBytes[over:]...)
	}
}

// split cuts bytes into lines.
func (f *file) split(b []byte, line func([]byte)) {
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		part, whole := b, false
		if end >= 0 {
			part, b, whole = b[:end], b[end+1:], true
		} else {
			b = nil
		}
		switch {
		case f.skip:
		case len(f.line)+len(part) > maxLine:
			// Its beginning is looked at, the rest passed over.
			f.line = append(f.line, part[:maxLine-len(f.line)]...)
			f.stats.long.Add(1)
			f.emit(f.line, line)
			f.line, f.skip = f.line[:0], true
		case whole && len(f.line) == 0:
			f.emit(part, line)
		default:
			f.line = append(f.line, part...)
			if whole {
				f.emit(f.line, line)
				f.line = f.line[:0]
			}
		}
		if whole {
			f.skip = false
		}
	}
}

func (f *file) emit(b []byte, line func([]byte)) {
	f.stats.lines.Add(1)
	line(bytes.TrimSuffix(b, []byte{'\r'}))
}

// finish takes an unfinished line for one.
func (f *file) finish(line func([]byte)) {
	if len(f.line) > 0 {
		f.emit(f.line, line)
		f.line = f.line[:0]
	}
}

// complain tells of trouble once, until it is another one.
func (f *file) complain(err error) {
	if err.Error() == f.told {
		return
	}
	f.told = err.Error()
	f.log.Warn("log file cannot be read", "file", f.path, "err", err, "again", DefaultEvery.Round(time.Millisecond))
}

func (f *file) close() {
	if f.f != nil {
		_ = f.f.Close() // only read
		f.f = nil
	}
}
