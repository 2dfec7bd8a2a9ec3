package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/client"
	"github.com/viewtcp/viewtcp/internal/filter"
)

// asksServer reports whether a daemon is to choose the packets and send them: the
// one that was named, unless a place on this host was named as well.
func (x *exportFlags) asksServer() bool {
	d := &x.daemon
	if d.local || d.server == "" {
		return false
	}
	return d.flags.Changed("server") || !d.flags.Changed("record-dir")
}

// exportFromServer gets the packets that a daemon chooses. What arrives is read as a
// recording, so that the file is the same as one made at the daemon's host.
func exportFromServer(ctx context.Context, e env, x *exportFlags, args []string, now time.Time) (err error) {
	if err := x.checkTogether(e, now); err != nil {
		return err
	}
	f, err := x.parseFilter(args, filterOptions())
	if err != nil {
		return err
	}
	d, err := findDaemon(ctx, &x.daemon)
	if err != nil {
		return err
	}
	defer d.Close()
	dir, err := os.MkdirTemp("", "viewtcp-export-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	q := client.ExportQuery{Filter: f.String()}
	if x.from != 0 {
		q.From = time.Unix(0, x.from)
	}
	if x.to != 0 {
		q.To = time.Unix(0, x.to+1) // the API leaves the end out
	}
	var note string
	err = newRecording(dir, now, func(w io.Writer) error {
		done, err := d.Export(ctx, w, q)
		if err == nil {
			note = done.Note
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return x.nothing(e, " at the daemon of "+d.URL())
	}
	if err != nil {
		return err
	}
	rec, err := capture.OpenRecording(dir)
	if err != nil {
		return fmt.Errorf("reading what the daemon of %s sent: %w", d.URL(), err)
	}
	e.warn(note)
	all, err := filter.Parse("")
	if err != nil {
		return err
	}
	return x.export(&recorded{ctx: ctx, e: e, rec: rec, filter: all, origin: "the daemon of " + d.URL()})
}

// newRecording makes a recording of one file, which write writes, in an empty
// directory. at is about when the packets were recorded.
func newRecording(dir string, at time.Time, write func(io.Writer) error) error {
	name := "packets-" + at.UTC().Format("20060102T150405Z") + "-000001.pcapng"
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
