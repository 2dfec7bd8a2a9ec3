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

	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/bundle"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
)

// openedBundle is a bundle as a data directory, for as long as a command runs.
type openedBundle struct {
	bundle.Manifest
	dir string
}

// openBundle unpacks a bundle into a directory of its own.
func openBundle(ctx context.Context, path string) (o *openedBundle, err error) {
	b, err := bundle.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	dir, err := os.MkdirTemp("", "viewtcp-bundle-*")
	if err != nil {
		return nil, fmt.Errorf("opening the bundle: %w", err)
	}
	o = &openedBundle{Manifest: b.Manifest, dir: dir}
	if err := errors.Join(unpackRows(ctx, b, filepath.Join(dir, storeDir)), unpackPackets(ctx, b, filepath.Join(dir, packetsDir))); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the bundle %q: %w", path, err), o.close())
	}
	return o, nil
}

// close removes the directory.
func (o *openedBundle) close() error { return os.RemoveAll(o.dir) }

// unpackBatch is how many rows are kept at once.
const unpackBatch = 8192

// unpackRows makes a store of the rows.
func unpackRows(ctx context.Context, b *bundle.Bundle, dir string) (err error) {
	cfg := parquet.DefaultConfig()
	cfg.Dir, cfg.Retention = dir, nil
	engine, err := parquet.Open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	var batch store.Batch
	flush := func() error {
		err := engine.Append(ctx, &batch)
		batch.Reset()
		return err
	}
	full := func() error {
		if batch.Rows() < unpackBatch {
			return nil
		}
		return flush()
	}
	err = bundle.ReadRows(ctx, b, bundle.ConnectionsName, store.RecordColumns(), func(r *store.Record) error {
		if r.Conn == nil || r.Kind.String() == "" || r.Time == 0 {
			return fmt.Errorf("%w: a row of a connection has no kind or time", bundle.ErrFormat)
		}
		batch.Records = append(batch.Records, *r)
		return full()
	})
	if err == nil {
		err = bundle.ReadRows(ctx, b, bundle.SamplesName, store.SampleColumns(), func(s *store.Sample) error {
			batch.Samples = append(batch.Samples, *s)
			return full()
		})
	}
	if err == nil {
		err = bundle.ReadRows(ctx, b, bundle.EventsName, store.EventColumns(), func(e *store.Event) error {
			batch.Events = append(batch.Events, *e)
			return full()
		})
	}
	if err == nil {
		err = bundle.ReadRows(ctx, b, bundle.UsageName, store.UsageColumns(), func(u *store.Usage) error {
			batch.Usage = append(batch.Usage, *u)
			return full()
		})
	}
	if err != nil {
		return err
	}
	return flush()
}

// unpackPackets makes a recording of the packets.
func unpackPackets(ctx context.Context, b *bundle.Bundle, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	r, err := b.File(bundle.PacketsName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return newRecording(dir, b.Manifest.From, func(w io.Writer) error {
		_, err := io.Copy(w, contextReader{ctx, r})
		return err
	})
}

// bundleFlag is --bundle of the commands that read history.
type bundleFlag struct{ path string }

func (b *bundleFlag) add(fs *pflag.FlagSet) {
	fs.StringVar(&b.path, "bundle", "", "read this incident file of viewtcp bundle; times count from its end")
}

// with opens the bundle for do, if one was named, and has what d asks be read out of
// it; else o is nil.
func (b *bundleFlag) with(ctx context.Context, d *daemonFlags, do func(o *openedBundle) error) (err error) {
	if b.path == "" {
		return do(nil)
	}
	for _, name := range []string{"data", "server"} {
		if d.flags.Changed(name) {
			return usagef("--bundle and --%s are two places; name one", name)
		}
	}
	o, err := openBundle(ctx, b.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.close()) }()
	d.local, d.server = true, ""
	if err := d.flags.Set("data", o.dir); err != nil {
		return err
	}
	return do(o)
}

// end is the moment that times count from: the end of the range.
func (o *openedBundle) end() time.Time { return o.To.Local() }
