package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/web"
)

// recordedPackets finds packets for the web server.
type recordedPackets struct {
	dir   string
	flush func()        // writes out what waits in memory
	past  store.Querier // nil is none
}

var (
	_ web.Packets = (*recordedPackets)(nil)

	errLargeEnough = errors.New("the file is as large as it may be")
)

// Export implements web.Packets.
func (p *recordedPackets) Export(ctx context.Context, w io.Writer, q web.PacketQuery) (done web.Exported, err error) {
	p.flush()
	rec, err := capture.OpenRecording(p.dir)
	if rec == nil {
		return done, err
	}
	if err != nil {
		done.Note = "some of the recording cannot be read"
	}
	f := q.Filter
	if f == nil {
		if f, err = filter.Parse(""); err != nil {
			return done, err
		}
	}
	r := &recorded{ctx: ctx, e: env{stderr: io.Discard}, rec: rec, filter: f, ids: q.IDs, past: p.past}
	r.setRange(q.From, q.To)
	chosen, err := r.choose()
	if err != nil {
		return done, err
	}
	if len(chosen) == 0 {
		return done, fmt.Errorf("nothing recorded matches%s: %w", r.span(), fs.ErrNotExist)
	}
	out, err := newExporter("packets.pcapng", disguise{})
	if err != nil {
		return done, err
	}
	if note := r.leftOut(); note != "" {
		done.Note = note
	}
	done.Connections, err = r.writeTo(w, out, chosen, func(p *recordedPacket) error {
		at := time.Unix(0, p.frame.Time)
		if done.Packets == 0 {
			done.First = at
		}
		done.Packets, done.Last = done.Packets+1, at
		if q.MaxBytes > 0 && out.w.Offset() >= q.MaxBytes {
			return errLargeEnough
		}
		return nil
	})
	done.Bytes = uint64(out.w.Offset())
	if errors.Is(err, errLargeEnough) {
		done.Note, err = fmt.Sprintf("the file ends at %d bytes; there are more packets", done.Bytes), nil
	}
	return done, err
}
