package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/output"
)

// captureOutput is the file, or one file after the other, that packets are
// written to.
type captureOutput struct {
	ctx     context.Context //nolint:containedctx // of one command; a pipe may have no reader yet
	p       *capturing
	pcap    bool
	rotates bool

	f     *os.File // nil on stdout
	w     *capture.Writer
	dirty bool
	// begun is when the file was; number counts the files.
	begun  int64
	number int
	// kept are the files that are there, oldest first.
	kept []string
}

// newCaptureOutput begins the first file, so that what is wrong with it is told
// before anything is captured.
func newCaptureOutput(ctx context.Context, p *capturing) (*captureOutput, error) {
	o := &captureOutput{
		ctx: ctx, p: p, pcap: strings.HasSuffix(p.c.write, ".pcap") || strings.HasSuffix(p.c.write, ".cap"),
		rotates: p.c.maxSize > 0 || p.c.rotate > 0,
	}
	if o.pcap {
		if err := o.oneLink(); err != nil {
			return nil, err
		}
	}
	if st, err := os.Stat(p.c.write); err == nil {
		switch {
		case st.IsDir():
			return nil, usagef("-w %s is a directory; name a file", p.c.write)
		case o.rotates && !st.Mode().IsRegular():
			return nil, usagef("-w %s is no regular file, of which there could be several", p.c.write)
		}
	}
	return o, o.open()
}

// oneLink refuses what a pcap file has no room for.
func (o *captureOutput) oneLink() error {
	first := o.p.spaces[0].live.Interfaces()[0]
	for _, s := range o.p.spaces {
		for _, at := range s.live.Interfaces() {
			if at.Link != first.Link {
				return usagef("-w %s: a pcap file holds one link type, not %v (%s) and %v (%s): name it .pcapng",
					o.p.c.write, first.Link, first.Name, at.Link, at.Name)
			}
		}
	}
	return nil
}

// path is the name of a file by its number: trace.pcapng, or trace-00001.pcapng
// where there are several.
func (o *captureOutput) path(n int) string {
	if !o.rotates {
		return o.p.c.write
	}
	ext := filepath.Ext(o.p.c.write)
	return fmt.Sprintf("%s-%05d%s", strings.TrimSuffix(o.p.c.write, ext), n, ext)
}

// open begins the next file.
func (o *captureOutput) open() error {
	dst := o.p.e.stdout
	if o.p.c.write != "-" {
		o.number++
		path := o.path(o.number)
		f, err := openToWrite(o.ctx, path)
		if err != nil {
			return fmt.Errorf("opening the file to write: %w", err)
		}
		o.f, dst = f, f
		o.kept = append(o.kept, path)
	}
	opts := capture.WriterOptions{Section: capture.Section{Application: "ViewTCP " + version, OS: runtime.GOOS}}
	if o.pcap {
		opts.Format = capture.FormatPcap
	}
	for _, s := range o.p.spaces {
		for _, at := range s.live.Interfaces() {
			if opts.Interfaces = append(opts.Interfaces, o.p.describe(s, at)); o.pcap {
				break
			}
		}
		if o.pcap {
			break
		}
	}
	var err error
	if o.w, err = capture.NewWriter(dst, opts); err != nil {
		return err
	}
	o.dirty = true
	return nil
}

// openToWrite opens a file, which only its owner may read if it is new. A named
// pipe is opened when it has a reader, unless the context ends before.
func openToWrite(ctx context.Context, path string) (*os.File, error) {
	const mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if st, err := os.Stat(path); err != nil || st.Mode().Type() != os.ModeNamedPipe {
		return os.OpenFile(path, mode, 0o600)
	}
	type result struct {
		f   *os.File
		err error
	}
	opened := make(chan result)
	go func() {
		f, err := os.OpenFile(path, mode, 0o600)
		select {
		case opened <- result{f, err}:
		case <-ctx.Done():
			if err == nil {
				_ = f.Close()
			}
		}
	}()
	select {
	case r := <-opened:
		return r.f, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// describe is an interface as files name it.
func (p *capturing) describe(s *space, at capture.LiveInterface) capture.Interface {
	i := capture.Interface{Link: at.Link, Name: at.Name, SnapLen: p.snaplen(), Filter: p.filter.Text()}
	if len(p.spaces) > 1 || !s.netns.Self {
		i.Description = "network namespace " + s.netns.String()
	}
	return i
}

func (p *capturing) snaplen() uint32 {
	if p.c.snaplen == 0 {
		return capture.MaxLiveSnaplen
	}
	return p.c.snaplen
}

// write adds a frame of a namespace, to the next file if this one is full.
func (o *captureOutput) write(s *space, f *capture.Frame, comment string, now int64) error {
	if o.rotates {
		if o.begun == 0 {
			o.begun = now
		}
		full := o.p.c.maxSize > 0 && o.w.Offset() >= o.p.c.maxSize
		if full || o.p.c.rotate > 0 && now-o.begun >= int64(o.p.c.rotate) {
			if err := o.next(now); err != nil {
				return err
			}
		}
	}
	own := f.Interface
	if !o.pcap {
		f.Interface += s.base
	} else {
		f.Interface = 0
	}
	err := o.w.Write(f, comment)
	f.Interface = own
	o.dirty = true
	return err
}

// next ends a file and begins another one.
func (o *captureOutput) next(now int64) error {
	if err := o.finish(now); err != nil {
		return err
	}
	if err := o.open(); err != nil {
		return err
	}
	o.begun = now
	if keep := o.p.c.files; keep > 0 && len(o.kept) > keep {
		if err := os.Remove(o.kept[0]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing the oldest file: %w", err)
		}
		o.kept = o.kept[1:]
	}
	return nil
}

// flush hands on what was written, for readers that follow.
func (o *captureOutput) flush() error {
	if !o.dirty {
		return nil
	}
	o.dirty = false
	return o.w.Flush()
}

// finish ends the file at hand: counters of the interfaces stand last.
func (o *captureOutput) finish(now int64) error {
	var errs []error
	for _, s := range o.p.spaces {
		// The rings of a namespace are counted together.
		st := interfaceStats(s)
		errs = append(errs, o.w.WriteStats(s.base, now, &st))
		if o.pcap {
			break
		}
	}
	errs = append(errs, o.w.Flush())
	if o.f != nil {
		errs = append(errs, o.f.Close())
		o.f = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("writing %s: %w", o.p.c.write, err)
	}
	return nil
}

// end ends the last file.
func (o *captureOutput) end(now int64) error {
	if o.w == nil {
		return nil
	}
	if err := o.finish(now); err != nil {
		return err
	}
	if n := o.number; o.rotates && n > 1 {
		s := "wrote " + strconv.Itoa(n) + " files, the last is " + o.path(n)
		if len(o.kept) < n {
			s += " and the oldest kept " + o.kept[0]
		}
		o.p.e.warn(output.Clean(s))
	}
	return nil
}
