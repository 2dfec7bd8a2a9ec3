package parquet

import (
	"context"
	"errors"

	"github.com/viewtcp/viewtcp/internal/store"
)

// eachStored calls fn for each row of connections of a view: those of segments,
// then those of the log.
func (e *Engine) eachStored(ctx context.Context, v *view, fn func(*store.Record) bool) error {
	for i := range v.segments {
		s := &v.segments[i]
		if s.Table != store.Connections.String() {
			continue
		}
		if err := e.eachOf(ctx, s, fn); err != nil {
			return stopped(err)
		}
	}
	for _, b := range v.unsealed {
		if bl := b.blocks[0]; bl != nil {
			if err := eachRecord(ctx, blockSource{[]block{*bl}}, fn); err != nil {
				return stopped(err)
			}
		}
	}
	return nil
}

func stopped(err error) error {
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (e *Engine) eachOf(ctx context.Context, s *segmentInfo, fn func(*store.Record) bool) error {
	f, err := e.fs.Open(s.name())
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	sf, err := openSegment(f, size)
	if err != nil {
		return err
	}
	return eachRecord(ctx, sf, fn)
}
