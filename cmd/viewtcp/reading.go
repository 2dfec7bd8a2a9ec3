package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
)

// captureFile is one file to read.
type captureFile struct {
	// name is as the user gave it; path is where it can be read again.
	name, path string
	first      int64 // time of its first frame
	size       int64 // -1 unknown
	// What the last pass met in it; from and to are the times of its first and
	// last frame.
	frames, segments uint64
	from, to         int64
	reasons          [capture.NumReasons]uint64
}

// reading goes through the frames of one or several capture files, once or
// more often.
type reading struct {
	ctx     context.Context //nolint:containedctx // of one command, whose calls it would follow everywhere
	e       env
	opts    capture.ReadOptions
	files   []captureFile
	digest  uint64
	spooled []string // copies of standard input, to be removed
	stdin   *capture.Reader

	// problems are the sentences about what the last pass could not read.
	problems []string
}

// newReading opens each file once, so that a wrong name is told before anything
// is printed, and puts them in the order of their first frames.
func newReading(ctx context.Context, e env, a *analyzeFlags, files []string) (*reading, error) {
	r := &reading{ctx: ctx, e: e, opts: capture.ReadOptions{Done: ctx.Done()}}
	if a.maxExpand != "" {
		n, err := filter.ParseSize(a.maxExpand)
		if err != nil {
			return nil, usagef("--max-expand: %w", err)
		}
		r.opts.MaxBytes, r.opts.MaxRatio = int64(min(n, 1<<62)), -1
	}
	for _, name := range files {
		f := captureFile{name: name, path: name, size: -1}
		if name == "-" {
			if len(files) == 1 && !a.twice {
				rd, err := capture.NewReader(e.stdin, r.opts)
				if err != nil {
					return nil, fmt.Errorf("reading standard input: %w", err)
				}
				r.stdin, r.digest = rd, rd.Digest()
				r.files = append(r.files, f)
				return r, nil // read as it comes
			}
			path, err := r.spool()
			if err != nil {
				r.close()
				return nil, err
			}
			f.path = path
		}
		if err := r.look(&f); err != nil {
			r.close()
			return nil, err
		}
		r.files = append(r.files, f)
	}
	slices.SortStableFunc(r.files, func(a, b captureFile) int { return cmp.Compare(a.first, b.first) })
	return r, nil
}

// look reads the beginning of a file. One that is broken after its header is
// met again when it is read.
func (r *reading) look(f *captureFile) error {
	rd, err := capture.Open(f.path, r.opts)
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.name, err)
	}
	defer rd.Close()
	r.digest = r.digest*1_000_003 ^ rd.Digest()
	f.size = rd.Size()
	var frame capture.Frame
	if rd.Next(&frame) == nil {
		f.first = frame.Time
	}
	return nil
}

// spool copies standard input to a file that can be read more than once.
func (r *reading) spool() (path string, err error) {
	f, err := os.CreateTemp("", "viewtcp-*.capture")
	if err != nil {
		return "", fmt.Errorf("keeping a copy of standard input: %w", err)
	}
	r.spooled = append(r.spooled, f.Name())
	_, err = io.Copy(f, contextReader{r.ctx, r.e.stdin})
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("keeping a copy of standard input: %w", err)
	}
	return f.Name(), nil
}

// contextReader stops at the next read after its context ended.
type contextReader struct {
	ctx context.Context //nolint:containedctx // that is all it is
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

func (r *reading) close() {
	if r.stdin != nil {
		_ = r.stdin.Close()
	}
	for _, path := range r.spooled {
		_ = os.Remove(path)
	}
}

// packetOf is a TCP segment with where it came from.
type packetOf struct {
	file  *captureFile
	frame *capture.Frame
	seg   *capture.Segment
	// reader tells of the interfaces of the file.
	reader *capture.Reader
}

// pass reads all files and calls each with every TCP segment. It goes on after a
// broken file; what was wrong is in r.problems. When the context ends it returns
// its error, after all that was read has been handed over.
func (r *reading) pass(each func(p *packetOf) error) error {
	r.problems = nil
	bar := newProgress(r.e)
	defer bar.clear()
	total, before := int64(0), int64(0)
	for i := range r.files {
		f := &r.files[i]
		f.frames, f.segments, f.from, f.to = 0, 0, 0, 0
		f.reasons = [capture.NumReasons]uint64{}
		if f.size < 0 || total < 0 {
			total = -1
		} else {
			total += f.size
		}
	}
	for i := range r.files {
		f := &r.files[i]
		err := r.passFile(f, func(done int64) { bar.update(before+done, total, r.frames()) }, each)
		var format *capture.FormatError
		switch {
		case errors.As(err, &format), errors.Is(err, io.ErrUnexpectedEOF):
			r.problems = append(r.problems, f.name+": "+err.Error())
		case err != nil:
			return err
		}
		before += max(f.size, 0)
	}
	return nil
}

// checkEvery is how many frames pass between two looks at the context and the
// clock.
const checkEvery = 4096

func (r *reading) passFile(f *captureFile, progressed func(done int64), each func(p *packetOf) error) error {
	rd, err := r.open(f)
	if err != nil {
		return err
	}
	defer rd.Close()
	var (
		frame   capture.Frame
		segment capture.Segment
		whole   capture.Reassembler
		p       = packetOf{file: f, frame: &frame, seg: &segment, reader: rd}
	)
	for {
		if err := rd.Next(&frame); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if f.frames%checkEvery == 0 {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			progressed(rd.Offset())
		}
		f.frames++
		if frame.Time != 0 {
			if f.from == 0 || frame.Time < f.from {
				f.from = frame.Time
			}
			f.to = max(f.to, frame.Time)
		}
		reason := whole.Decode(&frame, &segment)
		f.reasons[reason]++
		if reason != capture.TCP {
			continue
		}
		f.segments++
		if err := each(&p); err != nil {
			return err
		}
	}
}

func (r *reading) open(f *captureFile) (*capture.Reader, error) {
	if f.path == "-" {
		return r.stdin, nil
	}
	rd, err := capture.Open(f.path, r.opts)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.name, err)
	}
	return rd, nil
}

// observer names the capture for the ids of its connections.
func (r *reading) observer() string { return "capture " + strconv.FormatUint(r.digest, 16) }

// frames is how many frames of all files were read.
func (r *reading) frames() (n uint64) {
	for i := range r.files {
		n += r.files[i].frames
	}
	return n
}

// segments is how many of the frames held TCP.
func (r *reading) segments() (n uint64) {
	for i := range r.files {
		n += r.files[i].segments
	}
	return n
}

// span returns the times of the earliest and the latest frame.
func (r *reading) span() (from, to int64) {
	for i := range r.files {
		f := &r.files[i]
		if f.from != 0 && (from == 0 || f.from < from) {
			from = f.from
		}
		to = max(to, f.to)
	}
	return from, to
}

// leftOut is one sentence about frames that may have held TCP and could not be
// used; empty when there were none.
func (r *reading) leftOut() string {
	var parts []string
	for i := range capture.NumReasons {
		var n uint64
		for f := range r.files {
			n += r.files[f].reasons[i]
		}
		if n > 0 && broken(i) {
			parts = append(parts, fmt.Sprintf("%d %s", n, i))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("of %d frames some could not be used: %s", r.frames(), strings.Join(parts, ", "))
}
