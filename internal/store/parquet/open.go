package parquet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
)

// The connections that were open when the log was sealed stand in a file of their
// own, in the form of the log: a batch of their last rows. With the log after it
// they are the baselines of whoever goes on observing.

// openRows says, for some rows of connections in the order of the log, which are
// the last of a connection that did not end. seen are the ids of all that had a
// row before their end, and those given.
func openRows(src source, before *vec) (rows []uint32, seen map[uint64]bool, err error) {
	t := tables[store.Connections]
	var v [2]*vec
	for i, tag := range [...]uint16{store.TagID, store.TagKind} {
		c := t.column(tag)
		scratch := new(vec)
		scratch.reset(c.typ)
		if v[i], err = src.read(scratch, c); err != nil {
			return nil, nil, err
		}
	}
	ids, kinds := v[0], v[1]
	end := noCode
	for code, s := range kinds.dict {
		if s == store.Close.String() {
			end = uint32(code)
		}
	}
	// Most connections have one row only, their end: those are not remembered.
	seen = make(map[uint64]bool)
	for i, id := range ids.nums {
		if kinds.codes[i] != end && ids.known[i] {
			seen[id] = false
		}
	}
	if before != nil {
		for _, id := range before.nums {
			seen[id] = false
		}
	}
	// Backwards: the first row met is the last one.
	for i, v := range slices.Backward(ids.nums) {
		done, ok := seen[v]
		if !ok || done {
			continue
		}
		seen[v] = true
		if kinds.codes[i] != end {
			rows = append(rows, uint32(i))
		}
	}
	return rows, seen, nil
}

// saveOpen writes the connections that are open after the rows of src, given the
// file of those open before; blocks are the same rows. It returns the number of
// the new file, 0 if none is open.
func (e *Engine) saveOpen(src source, blocks blockSource, old, seq uint64) (uint64, error) {
	before, err := e.openBefore(old)
	if err != nil {
		return 0, err
	}
	var oldSource blockSource
	ids := new(vec)
	if before != nil {
		oldSource.blocks = []block{*before}
		c := tables[store.Connections].column(store.TagID)
		ids.reset(c.typ)
		if _, err := oldSource.read(ids, c); err != nil {
			return 0, err
		}
	}
	rows, seen, err := openRows(src, ids)
	if err != nil {
		return 0, err
	}
	var keep []uint32
	for i, id := range ids.nums {
		if !seen[id] { // neither ended nor told of again
			keep = append(keep, uint32(i))
		}
	}
	if len(rows)+len(keep) > maxBatchRows {
		keep = keep[:max(0, maxBatchRows-len(rows))]
		rows = rows[:min(len(rows), maxBatchRows)]
	}
	if len(rows)+len(keep) == 0 {
		return 0, nil
	}
	body, err := selectRows([]selection{{blocks, rows}, {oldSource, keep}})
	if err != nil {
		return 0, err
	}
	payload := []byte{formatVersion, 0, 0, 0, 0, 1, byte(store.Connections)}
	payload = appendUvarints(payload, uint64(len(rows)+len(keep)), uint64(len(body)))
	payload = append(payload, body...)
	b := appendFrame(appendLogHeader(nil, seq, e.cfg.Now().UnixNano(), 0), 0, seq, payload)
	number := e.manifest.Next
	e.manifest.Next++
	return number, writeFile(e.fs, openName(number), b)
}

// openBefore reads the connections that were open when the log was sealed. A file
// that is damaged is reported, and taken as one without any.
func (e *Engine) openBefore(number uint64) (*block, error) {
	before, err := loadOpen(e.fs, number)
	if err == nil {
		return before, nil
	}
	if ioFailed(err) && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading open connections: %w", err)
	}
	e.report(openName(number), 0, 0, "open connections cannot be read: "+err.Error(), "")
	return nil, nil //nolint:nilnil // as without a file
}

// loadOpen reads the file of open connections; nil if there is none.
func loadOpen(fsys fileSystem, number uint64) (*block, error) {
	if number == 0 {
		return nil, nil //nolint:nilnil // no file is no error
	}
	data, err := readFile(fsys, openName(number), maxLogFile)
	if err != nil {
		return nil, err
	}
	first, salt, err := parseLogHeader(data)
	if err != nil {
		return nil, err
	}
	var found *block
	var failed error
	cuts := parseFrames(data, salt, first, func(seq uint64, payload []byte) {
		b, err := parseBatch(seq, payload)
		if err == nil {
			err = b.check(new(vec))
		}
		if err != nil {
			failed = err
			return
		}
		found = b.blocks[0]
	})
	if failed == nil && (len(cuts) > 0 || found == nil) {
		failed = fmt.Errorf("open connections: %w", store.ErrDamaged)
	}
	return found, failed
}

// A selection is some rows of blocks.
type selection struct {
	from blockSource
	rows []uint32
}

// perBlock splits a selection by the block that its rows are in: few blocks have
// any, and only those are decoded.
func (s selection) perBlock() (blocks []block, rows [][]uint32) {
	sorted := slices.Sorted(slices.Values(s.rows))
	start := 0
	for _, b := range s.from.blocks {
		var of []uint32
		for len(sorted) > 0 && int(sorted[0]) < start+b.rows {
			of = append(of, sorted[0]-uint32(start))
			sorted = sorted[1:]
		}
		if len(of) > 0 {
			blocks, rows = append(blocks, b), append(rows, of)
		}
		start += b.rows
	}
	return blocks, rows
}

// selectRows makes a block of connections out of rows of several sources.
func selectRows(from []selection) ([]byte, error) {
	var blocks []block
	var rows [][]uint32
	for _, s := range from {
		b, r := s.perBlock()
		blocks, rows = append(blocks, b...), append(rows, r...)
	}
	var body, data []byte
	count := 0
	in, out := new(vec), new(vec)
	for i := range tables[store.Connections].columns {
		c := &tables[store.Connections].columns[i]
		out.reset(c.typ)
		for j := range blocks {
			if blocks[j].column(c.tag) == nil {
				out.addUnknown(len(rows[j]))
				continue
			}
			in.reset(c.typ)
			if err := blocks[j].decode(in, c.tag); err != nil {
				return nil, err
			}
			for _, row := range rows[j] {
				out.appendFrom(in, int(row))
			}
		}
		if out.unknown == out.len() {
			continue
		}
		var enc byte
		enc, data = encodeVec(data[:0], out)
		body = appendColumn(body, c.tag, enc, data)
		count++
	}
	return append(appendUvarints(nil, uint64(count)), body...), nil
}

// Open implements store.Appender.
func (e *Engine) Open(ctx context.Context, fn func(*store.Record) bool) error {
	v := e.acquire()
	defer e.release(v)
	before, err := e.openBefore(v.open)
	if err != nil {
		return err
	}
	var src blockSource
	if before != nil {
		src.blocks = append(src.blocks, *before)
	}
	for _, b := range v.unsealed {
		if b.blocks[0] != nil {
			src.blocks = append(src.blocks, *b.blocks[0])
		}
	}
	rows, _, err := openRows(src, nil)
	if err != nil || len(rows) == 0 {
		return err
	}
	body, err := selectRows([]selection{{src, rows}})
	if err != nil {
		return err
	}
	bl, err := parseBlock(uint64(len(rows)), body)
	if err != nil {
		return err
	}
	all := spanOf(time.Time{}, time.Time{})
	err = eachRow(ctx, blockSource{[]block{bl}}, store.RecordColumns(), nil, all, new(store.Answer), func(r *store.Record) error {
		if !fn(r) {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

var errStop = errors.New("stop")

func appendUvarints(b []byte, vs ...uint64) []byte {
	for _, v := range vs {
		for v >= 0x80 {
			b = append(b, byte(v)|0x80)
			v >>= 7
		}
		b = append(b, byte(v))
	}
	return b
}
