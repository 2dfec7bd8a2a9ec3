package parquet

import (
	"context"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
)

var (
	_ store.SampleScanner = (*Engine)(nil)
	_ store.SampleScanner = (*Reader)(nil)
)

// AllSamples implements store.SampleScanner.
func (e *Engine) AllSamples(ctx context.Context, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	return e.queries().allSamples(ctx, from, to, fn)
}

// AllSamples implements store.SampleScanner.
func (r *Reader) AllSamples(ctx context.Context, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	return r.queries().allSamples(ctx, from, to, fn)
}

func (r *querier) allSamples(ctx context.Context, from, to time.Time, fn func(*store.Sample) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(from, to)
	m, err := r.take(ctx, func(g *segmentInfo) bool { return g.Table == store.Samples.String() && s.overlaps(g) })
	if err != nil {
		return a, err
	}
	defer m.release()
	err = m.eachSource(ctx, store.Samples, s, a, func(src source) error {
		return eachRow(ctx, src, store.SampleColumns(), nil, s, a, fn)
	})
	return a, err
}
