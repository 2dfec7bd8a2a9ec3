package parquet

import (
	"context"
	"math"
	"slices"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// rawParts say what is computed, of which rows.
type rawParts struct{ sums, peaks, segments, log bool }

// raw computes what follows from the rows of connections in a part of the range.
func (m *moment) raw(ctx context.Context, x *aggregation, s span, parts rawParts) error {
	r := &rawScan{x: x, s: s, sums: parts.sums}
	for i := range x.q.Aggregates {
		if f := x.q.Aggregates[i].Func; f == store.MaxOpen && !parts.peaks || f != store.MaxOpen && !parts.sums {
			continue
		}
		switch x.q.Aggregates[i].Func {
		case store.Count:
			r.covers, r.counts = true, true
			if x.counts == nil {
				x.counts = &counter{}
			}
		case store.Opened:
			r.covers = true
		case store.MaxOpen:
			r.covers, r.sweeps = true, true
		case store.Sum, store.Closed:
		default:
			if x.gauges == nil && x.dists == nil {
				x.gauges = newGauges(x)
			}
		}
	}
	use := s.overlaps
	if r.covers {
		use = s.covers
	}
	if !parts.segments {
		use = func(*segmentInfo) bool { return false }
	}
	chunks := m.chunksOf(store.Connections, use, x.a)
	if !parts.log {
		chunks = slices.DeleteFunc(chunks, func(c chunk) bool { return c.info == nil })
	}
	if err := m.retainLog(x.a); err != nil {
		return err
	}
	if r.counts || r.sweeps {
		tails, err := m.tails()
		if err != nil {
			return err
		}
		if tails != nil {
			chunks = slices.Insert(chunks, 0, chunk{blocks: []block{*tails}, tails: true})
		}
	}
	if r.sweeps {
		x.sweep = newSweeper(x, s, chunks)
	}
	if x.gauges != nil {
		x.gauges.prepare(x, chunks)
	}
	done := func(i int) {
		if r.sweeps {
			x.sweep.done(i)
		}
		if x.gauges != nil {
			x.gauges.done(x, i)
		}
	}
	if err := m.eachChunk(ctx, store.Connections, chunks, s, x.a, r.chunk, done); err != nil {
		return err
	}
	if r.sweeps {
		return x.sweep.failure()
	}
	return nil
}

// A rawScan reads rows of connections for an aggregation.
type rawScan struct {
	x *aggregation
	s span
	// covers says that rows count that tell of a part of the range; otherwise only
	// those whose time is in it.
	covers, counts, sweeps bool
	// sums says that all but peaks are computed.
	sums bool
}

// A picked is what of a chunk an aggregation reads.
type picked struct {
	*chunkRows
	sel         []uint32 // rows
	local, gids []uint32 // the group of each, by gids
	times       []uint64 // of all rows
	from        []int64  // of all rows, when covers are asked for
	// cell is the place in cells of each row whose time is in the range, noCode
	// else.
	cell  []uint32
	cells []cellID // with numbers of groups in gids
}

func (r *rawScan) chunk(i int, rows *chunkRows) error {
	p := &picked{chunkRows: rows}
	if no, err := rows.lacks(r.x.test); no || err != nil {
		return err
	}
	times, err := rows.col(atTime)
	if err != nil {
		return err
	}
	p.times = times.nums
	in := sized(&rows.room.in, rows.n)
	some := false
	if r.covers {
		if p.from, err = rows.covers(); err != nil {
			return err
		}
	}
	for i, t := range p.times {
		t := int64(t)
		switch {
		case rows.tails:
			in[i] = t < r.s.to
		case r.covers:
			in[i] = t >= r.s.from && p.from[i] < r.s.to
		default:
			in[i] = t >= r.s.from && t < r.s.to
		}
		some = some || in[i]
	}
	if !some {
		return nil
	}
	if r.x.test != nil {
		out, err := r.x.test.test(rows, in)
		if err != nil {
			return err
		}
		for i := range in {
			in[i] = in[i] && out[i]
		}
	}
	if p.sel = rows.room.selected(in); len(p.sel) == 0 {
		return nil
	}
	if p.local, p.gids, err = r.x.rows.of(rows, p.sel, r.x.gs.number); err != nil {
		return err
	}
	if r.sums {
		if err := r.add(p); err != nil {
			return err
		}
	}
	if r.sweeps {
		return r.x.sweep.add(i, p)
	}
	return nil
}

// place finds the cells of the rows.
func (r *rawScan) place(p *picked, at func(row uint32) (int64, bool)) (cell []uint32, ids []cellID) {
	cell = make([]uint32, len(p.sel))
	lo, hi := uint32(math.MaxUint32), uint32(0)
	// Rows of a bucket often lie together, and a division takes long.
	b, same := uint32(0), span{1, 0}
	for i, row := range p.sel {
		cell[i] = noCode
		if t, ok := at(row); ok {
			if !same.has(t) {
				b = r.x.bucket(t)
				same = r.x.spanOf(b)
			}
			cell[i] = b
			lo, hi = min(lo, b), max(hi, b)
		}
	}
	if lo > hi {
		return cell, nil
	}
	n := int(hi-lo) + 1
	if n == 1 && len(p.gids) <= 1<<20 {
		for i := range cell {
			if cell[i] != noCode {
				cell[i] = p.local[i]
			}
		}
		for g := range p.gids {
			ids = append(ids, cellID{uint32(g), lo})
		}
		return cell, ids
	}
	if size := n * len(p.gids); size <= 1<<20 {
		seen := make([]uint32, size)
		for i, b := range cell {
			if b == noCode {
				continue
			}
			at := int(p.local[i])*n + int(b-lo)
			if seen[at] == 0 {
				ids = append(ids, cellID{p.local[i], b})
				seen[at] = uint32(len(ids))
			}
			cell[i] = seen[at] - 1
		}
		return cell, ids
	}
	seen := make(map[cellID]uint32)
	for i, b := range cell {
		if b == noCode {
			continue
		}
		id := cellID{p.local[i], b}
		at, ok := seen[id]
		if !ok {
			at = uint32(len(ids))
			ids = append(ids, id)
			seen[id] = at
		}
		cell[i] = at
	}
	return cell, ids
}

// add computes all but peaks.
func (r *rawScan) add(p *picked) error {
	x := r.x
	kinds, err := p.col(atKind)
	if err != nil {
		return err
	}
	end := kinds.codeOfText(store.Close.String())
	p.cell, p.cells = r.place(p, func(row uint32) (int64, bool) {
		t := int64(p.times[row])
		return t, !p.tails && r.s.has(t)
	})
	sums := make([][]uint64, len(x.q.Aggregates))
	known := make([][]bool, len(x.q.Aggregates))
	ids := make([][]cellID, len(x.q.Aggregates))
	for j := range x.q.Aggregates {
		switch g := &x.q.Aggregates[j]; g.Func {
		case store.Sum:
			if sums[j], known[j], err = p.sum(counterOf(g.Field)); err != nil {
				return err
			}
			ids[j] = p.cells
		case store.Closed:
			sums[j] = make([]uint64, len(p.cells))
			for i, row := range p.sel {
				if c := p.cell[i]; c != noCode && kinds.codes[row] == end {
					sums[j][c]++
				}
			}
			ids[j] = p.cells
		case store.Opened:
			if sums[j], ids[j], err = r.opened(p); err != nil {
				return err
			}
		default: // does not add up
		}
	}
	var multi func(row uint32) bool
	if r.counts || x.gauges != nil {
		if multi, err = p.multi(end); err != nil {
			return err
		}
	}
	var more []func() error
	if r.counts {
		add, err := x.counts.chunk(x, r.s, p, multi)
		if err != nil {
			return err
		}
		more = append(more, add)
	}
	if x.gauges != nil && !p.tails {
		add, err := x.gauges.chunk(x, p, multi)
		if err != nil {
			return err
		}
		more = append(more, add)
	}
	if x.dists != nil {
		add, err := x.dists.chunk(x, p, end)
		if err != nil {
			return err
		}
		more = append(more, add)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for j := range sums {
		for i, v := range sums[j] {
			ok := v != 0 || known[j] != nil && known[j][i]
			if !ok {
				continue
			}
			id := ids[j][i]
			at, err := x.cells.at1(cellID{p.gids[id.group], id.bucket})
			if err != nil {
				return err
			}
			x.cells.sums[j][at] += v
			x.cells.known[j][at] = true
		}
	}
	for _, add := range more {
		if err := add(); err != nil {
			return err
		}
	}
	return nil
}

// sum adds up how far a counter went, by cell.
func (p *picked) sum(counter int) (sums []uint64, known []bool, err error) {
	name := store.CounterField(counter)
	total, err := p.col(placed(store.Connections, name))
	if err != nil {
		return nil, nil, err
	}
	delta, err := p.col(placed(store.Connections, name+"_delta"))
	if err != nil {
		return nil, nil, err
	}
	sums, known = make([]uint64, len(p.cells)), make([]bool, len(p.cells))
	noDelta := delta.unknown == p.n
	for i, row := range p.sel {
		c := p.cell[i]
		switch {
		case c == noCode:
		case !noDelta && delta.known[row]:
			sums[c] += delta.nums[row]
			known[c] = true
		case total.known[row]:
			sums[c] += total.nums[row]
			known[c] = true
		}
	}
	return sums, known, nil
}

// opened counts the rows that cover their connection's opening, by when that was.
func (r *rawScan) opened(p *picked) ([]uint64, []cellID, error) {
	since, err := p.col(atSince)
	if err != nil {
		return nil, nil, err
	}
	duration, err := p.col(atDuration)
	if err != nil {
		return nil, nil, err
	}
	opened, err := p.col(atOpened)
	if err != nil {
		return nil, nil, err
	}
	cell, ids := r.place(p, func(row uint32) (int64, bool) {
		if p.tails || since.known[row] || !duration.known[row] {
			return 0, false
		}
		start := store.StartOf(int64(p.times[row]), int64(opened.nums[row]), int64(duration.nums[row]))
		return start, r.s.has(start)
	})
	sums := make([]uint64, len(ids))
	for _, c := range cell {
		if c != noCode {
			sums[c]++
		}
	}
	return sums, ids, nil
}

// multi says which rows are not all that there is of their connection.
func (p *picked) multi(end uint32) (func(row uint32) bool, error) {
	kinds, err := p.col(atKind)
	if err != nil {
		return nil, err
	}
	since, err := p.col(atSince)
	if err != nil {
		return nil, err
	}
	ids, err := p.ids()
	if err != nil {
		return nil, err
	}
	return func(row uint32) bool {
		return (since.known[row] || kinds.codes[row] != end) && ids(row) != 0
	}, nil
}

// ids returns the ids of rows, decoded when one is asked for. 0 is none: such a
// row is a connection of its own.
func (p *picked) ids() (func(row uint32) tcp.ID, error) {
	v, err := p.col(atID)
	if err != nil {
		return nil, err
	}
	return func(row uint32) tcp.ID {
		if !v.known[row] {
			return 0
		}
		return tcp.ID(v.nums[row])
	}, nil
}
