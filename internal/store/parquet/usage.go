package parquet

import (
	"context"
	"fmt"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
)

// maxUsageRows bounds an answer of usage: a host's rows of two weeks, which take
// some 70 MB until they are in order.
const maxUsageRows = 128 << 10

// Usage implements store.UsageQuerier.
func (e *Engine) Usage(ctx context.Context, q *store.UsageQuery, fn func(*store.Usage) error) (*store.Answer, error) {
	return e.queries().usage(ctx, q, fn)
}

// Usage implements store.UsageQuerier.
func (r *Reader) Usage(ctx context.Context, q *store.UsageQuery, fn func(*store.Usage) error) (*store.Answer, error) {
	return r.queries().usage(ctx, q, fn)
}

func (r *querier) usage(ctx context.Context, q *store.UsageQuery, fn func(*store.Usage) error) (*store.Answer, error) {
	a := &store.Answer{Resolution: store.Raw}
	s := spanOf(q.From, q.To)
	m, err := r.take(ctx, func(g *segmentInfo) bool { return g.Table == store.UsageTable.String() && s.overlaps(g) })
	if err != nil {
		return a, err
	}
	defer m.release()
	var found []store.Usage
	err = m.eachSource(ctx, store.UsageTable, s, a, func(src source) error {
		return eachRow(ctx, src, store.UsageColumns(), nil, s, a, func(u *store.Usage) error {
			if !q.Matches(u) {
				return nil
			}
			if len(found) == maxUsageRows {
				return fmt.Errorf("usage: more than %d rows; ask for a shorter range, a scope or a process: %w", maxUsageRows, store.ErrMemory)
			}
			found = append(found, *u)
			return nil
		})
	})
	if err != nil {
		return a, err
	}
	slices.SortStableFunc(found, store.CompareUsage)
	return a, each1(found, fn)
}
