package capture

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxTorn is how much may stand behind the last whole block without being kept:
// more than a recorder writes at once.
const maxTorn = 1 << 20

// Repair tells what was found wrong with a segment and done about it.
type Repair struct {
	// Segment is the name of the file, without its directory.
	Segment string
	// Packets are in the segment now.
	Packets int
	// Cut is what was cut off its end, bytes; Damaged says that it is kept in a
	// file of its own.
	Cut     int64
	Damaged bool
	// Reason says what was wrong; Err is set if it could not be mended, and then
	// the file is as it was.
	Reason string
	Err    error
}

// foundSegments is what a recorder finds in its directory.
type foundSegments struct {
	sealed  []sealedSegment
	number  uint64 // the highest
	repairs []Repair
}

// repairDir makes every segment of a directory sealed again. Only what keeps it
// from reading the directory is an error.
func repairDir(dir string) (found foundSegments, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return found, err
	}
	have := make(map[string]bool)
	type segment struct {
		base   string
		number uint64
	}
	var segments []segment
	for _, e := range entries {
		base, number, ext, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		have[e.Name()] = true
		found.number = max(found.number, number)
		if ext == extLive || ext == extSealed {
			segments = append(segments, segment{base, number})
		}
	}
	slices.SortFunc(segments, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.number, b.number), strings.Compare(a.base, b.base))
	})
	segments = slices.Compact(segments)
	for name := range have {
		base, _, ext, _ := parseName(name)
		orphan := !have[base+extLive] && !have[base+extSealed]
		if ext == extIndex+extTemp || orphan && ext == extIndex {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	for _, s := range segments {
		ext := extLive
		if have[s.base+extSealed] {
			ext = extSealed
		}
		at, repair := repairSegment(dir, s.base, ext)
		if repair != nil {
			found.repairs = append(found.repairs, *repair)
		}
		if at != nil {
			found.sealed = append(found.sealed, *at)
		}
	}
	return found, nil
}

// repairSegment makes sure that a segment is whole and has its index. It returns
// nil for a segment that is not there any more, or cannot be mended.
func repairSegment(dir, base, ext string) (*sealedSegment, *Repair) {
	path := filepath.Join(dir, base+ext)
	repair := &Repair{Segment: base + ext}
	fail := func(err error) (*sealedSegment, *Repair) {
		repair.Err = err
		return nil, repair
	}
	st, err := os.Stat(path)
	if err != nil {
		return fail(err)
	}
	repair.Reason = "it was being written"
	if ext == extSealed {
		x, n, err := readIndex(filepath.Join(dir, base+extIndex))
		switch {
		case err == nil && x.size == st.Size():
			return &sealedSegment{base: base, size: x.size + n, last: x.last}, nil
		case err == nil:
			repair.Reason = fmt.Sprintf("it has %d bytes, and its index says %d", st.Size(), x.size)
		case errors.Is(err, os.ErrNotExist):
			repair.Reason = "it had no index"
		case errors.Is(err, errIndex):
			repair.Reason = err.Error()
		default:
			return fail(err) // perhaps of a later version
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	scan, err := scanSegment(f, st.Size())
	if err != nil {
		return fail(err)
	}
	if repair.Cut = st.Size() - scan.end; repair.Cut > 0 {
		if repair.Cut > maxTorn {
			if repair.Damaged, err = keepDamaged(filepath.Join(dir, base+extDamaged), f, scan.end, st.Size()); err != nil {
				return fail(err)
			}
		}
		if scan.end > 0 {
			if err := f.Truncate(scan.end); err != nil {
				return fail(err)
			}
		}
	}
	if scan.end == 0 {
		return nil, dropSegment(dir, base, ext, repair)
	}
	if repair.Packets = len(scan.built.packets); repair.Packets == 0 && ext == extLive {
		return nil, dropSegment(dir, base, ext, repair)
	}
	index := scan.built.encode(scan.meta)
	if err := errors.Join(f.Sync(), finishSegment(dir, base, index)); err != nil {
		return fail(err)
	}
	at := &sealedSegment{base: base, size: scan.end + int64(len(index)), last: scan.built.last()}
	if repair.Damaged {
		at.size += repair.Cut
	}
	return at, repair
}

// dropSegment removes a segment without packets, and its index.
func dropSegment(dir, base, ext string, repair *Repair) *Repair {
	repair.Err = os.Remove(filepath.Join(dir, base+ext))
	_ = os.Remove(filepath.Join(dir, base+extIndex))
	return repair
}

// keepDamaged copies the end of a file, unless it is nothing but zeros, which a
// file system leaves where it had no time to write.
func keepDamaged(path string, f *os.File, from, to int64) (kept bool, err error) {
	end := func() io.Reader { return io.NewSectionReader(f, from, to-from) }
	zero, err := allZero(end())
	if err != nil || zero {
		return false, err
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(out, end())
	return true, errors.Join(err, out.Sync(), out.Close())
}

func allZero(r io.Reader) (bool, error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b != 0 {
				return false, nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		}
	}
}

// scannedSegment is what reading a segment from its begin shows.
type scannedSegment struct {
	built  indexBuilder
	ifaces []Interface
	meta   indexMeta // but its size
	// end is where the last whole block ends.
	end int64
}

// scanSegment reads a segment of which the end may be torn. Only an error of
// reading is one.
func scanSegment(f io.ReaderAt, size int64) (*scannedSegment, error) {
	scan := new(scannedSegment)
	numbers := make(map[connKey]uint32)
	r, err := NewReader(io.NewSectionReader(f, 0, size), ReadOptions{})
	var broken *FormatError
	if errors.As(err, &broken) {
		return scan, nil
	} else if err != nil {
		return nil, err
	}
	defer r.Close()
	if len(r.Sections()) == 0 || r.big {
		return scan, nil // none of ours
	}
	var frame Frame
	var s Segment
	lost := uint64(0)
	scan.end = r.offset()
	for {
		err := r.Next(&frame)
		switch {
		case err == nil:
		case errors.As(err, &broken):
			scan.end = broken.Offset
		case errors.Is(err, io.EOF):
			scan.end = r.offset()
		default:
			return nil, err
		}
		if err != nil {
			scan.ifaces = slices.Clone(r.Interfaces())
			scan.meta = metaOf(r.Sections()[0].Comments)
			scan.meta.size, scan.meta.lost = scan.end, lost
			return scan, nil
		}
		lost += frame.Dropped
		// The block ends where reading stands, with its length.
		end := r.offset()
		start := end - int64(r.u32(r.buf[r.pos-4:]))
		if start/4 > 1<<32-1 || Decode(&frame, &s) != TCP {
			continue
		}
		key, _ := keyOf(&s.Tuple)
		conn, ok := numbers[key]
		if !ok {
			conn = scan.built.add(&key)
			numbers[key] = conn
		}
		scan.built.packet(conn, start, frame.Time)
	}
}

// readIndex reads an index file, and returns its length too.
func readIndex(path string) (*segmentIndex, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if st.Size() > maxSegment {
		return nil, 0, fmt.Errorf("%w: %d bytes", errIndex, st.Size())
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, 0, fmt.Errorf("reading index %q: %w", path, err)
	}
	x, err := parseIndex(b)
	if err != nil {
		return nil, 0, fmt.Errorf("index %q: %w", path, err)
	}
	return x, int64(len(b)), nil
}
