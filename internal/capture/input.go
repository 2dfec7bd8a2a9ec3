package capture

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	defaultMaxBytes = 10 << 30
	defaultMaxRatio = 100
	// ratioFloor is how much a file may expand to before the ratio counts.
	ratioFloor = 16 << 20
	// maxWindow bounds the memory that a zstd frame can ask for. zstd writes
	// larger windows only when told to (--long, --ultra).
	maxWindow = 32 << 20
)

// ErrExpansion is wrapped by the FormatError of a compressed file that grows
// beyond ReadOptions.MaxBytes or MaxRatio.
var ErrExpansion = errors.New("the limit protects from files made to fill memory and time; lift it if the file is known")

// brokenInput is an error of the content, found while decompressing.
type brokenInput struct {
	reason string
	err    error
}

func (e *brokenInput) Error() string { return e.reason }
func (e *brokenInput) Unwrap() error { return e.err }

// input is the bytes of one capture, decompressed as they are read.
type input struct {
	src   io.Reader
	raw   *rawInput
	size  int64
	limit *expansion    // nil when not compressed
	zstd  *zstd.Decoder // nil when something else
	file  io.Closer
}

// Open opens a capture file; "-" is standard input.
func Open(path string, o ReadOptions) (*Reader, error) {
	if path == "-" {
		in, err := newInput(os.Stdin, o)
		if err != nil {
			return nil, err
		}
		return newReader(in)
	}
	file, err := openFile(path, o.Done)
	if err != nil {
		return nil, err
	}
	in, err := newInput(file, o)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	in.file = file
	return newReader(in)
}

// openFile opens a file. Opening a named pipe waits for its writer, so that is
// left to a goroutine that done can abandon.
func openFile(path string, done <-chan struct{}) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("reading %q: it is a directory", path)
	}
	if done == nil || info.Mode()&os.ModeNamedPipe == 0 {
		return os.Open(path)
	}
	type result struct {
		file *os.File
		err  error
	}
	opened := make(chan result)
	go func() {
		f, err := os.Open(path)
		select {
		case opened <- result{f, err}:
		case <-done:
			_ = f.Close()
		}
	}()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-done:
		return nil, context.Canceled
	}
}

func newInput(r io.Reader, o ReadOptions) (*input, error) {
	in := &input{size: -1}
	waits := true
	switch r := r.(type) {
	case *os.File:
		if info, err := r.Stat(); err == nil && info.Mode().IsRegular() {
			in.size = info.Size()
			waits = false
		}
	case interface{ Len() int }: // bytes.Reader, strings.Reader, bytes.Buffer
		in.size = int64(r.Len())
		waits = false
	}
	in.raw = &rawInput{src: r, done: o.Done}
	if waits && o.Done != nil {
		in.raw.src = &pump{src: r, done: o.Done}
	}

	if err := in.decompress(o); err != nil {
		_ = in.close()
		return nil, err
	}
	return in, nil
}

// decompress finds out whether the input is compressed, and how.
func (in *input) decompress(o ReadOptions) error {
	buffered := bufio.NewReaderSize(in.raw, 64<<10)
	in.src = buffered
	magic, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b, 8}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return decompressError("gzip", err)
		}
		in.limit = newExpansion("gzip", z, in.raw, o)
	case isZstd(magic):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("reading zstd: %w", err)
		}
		in.zstd = z
		in.limit = newExpansion("zstd", z, in.raw, o)
	}
	if in.limit != nil {
		in.src = in.limit
	}
	return nil
}

// isZstd knows the magic numbers of RFC 8878, sections 3.1.1 and 3.1.2: of a
// frame, and of one to skip.
func isZstd(b []byte) bool {
	return len(b) == 4 && (string(b) == "\x28\xb5\x2f\xfd" || b[0]&0xf0 == 0x50 && string(b[1:]) == "\x2a\x4d\x18")
}

func decompressError(format string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &FormatError{Reason: "the file ends in the middle of its " + format + " header"}
	}
	return &FormatError{Reason: "reading " + format, Err: err}
}

func (in *input) read(b []byte) (int, error) {
	n, err := in.src.Read(b)
	if n > 0 {
		return n, nil // an error comes again
	}
	return n, err
}

func (in *input) consumed() int64 { return in.raw.n.Load() }

func (in *input) close() error {
	if in.zstd != nil {
		in.zstd.Close()
	}
	if p, ok := in.raw.src.(*pump); ok {
		p.close()
	}
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// rawInput counts what is read of the file as it lies there.
type rawInput struct {
	src  io.Reader
	done <-chan struct{}
	n    atomic.Int64 // a progress bar reads it from its own goroutine
}

func (r *rawInput) Read(b []byte) (int, error) {
	select {
	case <-r.done:
		return 0, context.Canceled
	default:
	}
	n, err := r.src.Read(b)
	r.n.Add(int64(n))
	return n, err
}

// expansion bounds what decompressing may give.
type expansion struct {
	format   string
	src      io.Reader
	raw      *rawInput
	out      int64
	maxBytes int64 // 0 is no limit
	maxRatio int64
}

func newExpansion(format string, src io.Reader, raw *rawInput, o ReadOptions) *expansion {
	e := &expansion{format: format, src: src, raw: raw, maxBytes: defaultMaxBytes, maxRatio: defaultMaxRatio}
	if o.MaxBytes != 0 {
		e.maxBytes = max(o.MaxBytes, 0)
	}
	if o.MaxRatio != 0 {
		e.maxRatio = int64(max(o.MaxRatio, 0))
	}
	return e
}

func (e *expansion) Read(b []byte) (int, error) {
	select {
	case <-e.raw.done: // a small file can expand for a long time
		return 0, context.Canceled
	default:
	}
	n, err := e.src.Read(b)
	e.out += int64(n)
	if e.maxBytes > 0 && e.out > e.maxBytes {
		return 0, &brokenInput{"expands to more than " + strconv.FormatInt(e.maxBytes, 10) + " bytes", ErrExpansion}
	}
	if e.maxRatio > 0 && e.out > ratioFloor && e.out/e.maxRatio > e.raw.n.Load() {
		return 0, &brokenInput{"expands to more than " + strconv.FormatInt(e.maxRatio, 10) + " times its size", ErrExpansion}
	}
	switch {
	case err == nil, err == io.EOF, errors.Is(err, context.Canceled):
		return n, err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return n, &brokenInput{"the file ends in the middle of its " + e.format + " data", nil}
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return n, &brokenInput{"zstd wants a window of more than " + strconv.Itoa(maxWindow>>20) + " MiB (was it compressed with --long?): decompress it first", nil}
	}
	if e.corrupt(err) {
		return n, &brokenInput{"corrupt " + e.format + " data", err}
	}
	return n, fmt.Errorf("reading %s: %w", e.format, err)
}

// corrupt tells errors of the content from errors of the input's own reader,
// which the decompressors hand through.
func (e *expansion) corrupt(err error) bool {
	var path *os.PathError
	return !errors.As(err, &path)
}

// pump reads in a goroutine of its own what may keep a reader waiting, so that
// closing done frees it. A read that the system does not let be interrupted
// ends with the input: at the latest when the other end of the pipe is closed.
type pump struct {
	src     io.Reader
	done    <-chan struct{}
	ask     chan struct{}
	got     chan pumped
	rest    []byte
	err     error
	started bool
}

type pumped struct {
	b   []byte
	err error
}

func (p *pump) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		if !p.started {
			p.started = true
			p.ask, p.got = make(chan struct{}), make(chan pumped, 1)
			go pumpFrom(p.src, p.ask, p.got)
		}
		select {
		case p.ask <- struct{}{}:
		case <-p.done:
			return 0, context.Canceled
		}
		select {
		case r := <-p.got:
			p.rest, p.err = r.b, r.err
		case <-p.done:
			p.err = context.Canceled // an answer may still come: never ask again
			return 0, p.err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	if n == 0 {
		return 0, p.err
	}
	return n, nil
}

// pumpFrom answers each question with one read, into memory that the asker has
// done with by the time of the next.
func pumpFrom(src io.Reader, ask <-chan struct{}, got chan<- pumped) {
	b := make([]byte, 64<<10)
	for range ask {
		n, err := src.Read(b)
		got <- pumped{b[:n], err}
		if err != nil {
			return
		}
	}
}

func (p *pump) close() {
	if p.started {
		p.started = false
		p.err = errClosed
		p.rest = nil
		close(p.ask)
	}
}
