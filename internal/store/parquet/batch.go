package parquet

import (
	"encoding/binary"
	"fmt"

	"github.com/viewtcp/viewtcp/internal/store"
)

// maxAgent bounds the name of an agent, and maxBatchRows the rows of a batch.
const (
	maxAgent     = 1 << 10
	maxBatchRows = maxBlockRows
)

// A batchEncoder keeps its memory from one batch to the next.
type batchEncoder struct {
	w    blockWriter
	body []byte
}

// append appends a batch in the form of the log.
func (e *batchEncoder) append(b []byte, in *store.Batch) ([]byte, error) {
	if in.Rows() > maxBatchRows {
		return b, fmt.Errorf("batch of %d rows: %w", in.Rows(), store.ErrInvalid)
	}
	if len(in.ID.Agent) > maxAgent {
		return b, fmt.Errorf("agent with a name of %d bytes: %w", len(in.ID.Agent), store.ErrInvalid)
	}
	var parts store.Part
	for i := range in.Records {
		if in.Records[i].Conn == nil {
			return b, fmt.Errorf("record without a connection: %w", store.ErrInvalid)
		}
		parts |= in.Records[i].Parts()
	}
	b = append(b, formatVersion)
	b = binary.AppendUvarint(b, uint64(len(in.ID.Agent)))
	b = append(b, in.ID.Agent...)
	b = binary.AppendUvarint(b, in.ID.Epoch)
	b = binary.AppendUvarint(b, in.ID.Sequence)
	b = binary.AppendVarint(b, in.Time)
	count := 0
	for _, n := range [...]int{len(in.Records), len(in.Samples), len(in.Events), len(in.Peaks), len(in.Usage)} {
		if n > 0 {
			count++
		}
	}
	b = append(b, byte(count))
	b = appendTable(b, e, store.Connections, store.RecordColumns(), in.Records, parts)
	b = appendTable(b, e, store.Samples, store.SampleColumns(), in.Samples, 0)
	b = appendTable(b, e, store.Events, store.EventColumns(), in.Events, 0)
	b = appendTable(b, e, store.Peaks, store.PeakColumns(), in.Peaks, 0)
	return appendTable(b, e, store.UsageTable, store.UsageColumns(), in.Usage, 0), nil
}

func appendTable[T any](b []byte, e *batchEncoder, t store.Table, cols []store.Column[T], rows []T, parts store.Part) []byte {
	if len(rows) == 0 {
		return b
	}
	e.body = appendBlock(e.body[:0], &e.w, cols, rows, parts)
	b = append(b, byte(t))
	b = binary.AppendUvarint(b, uint64(len(rows)))
	b = binary.AppendUvarint(b, uint64(len(e.body)))
	return append(b, e.body...)
}

// A loggedBatch is a batch as it stands in the log.
type loggedBatch struct {
	seq  uint64
	id   store.BatchID
	time int64
	// blocks are those of the tables in logged; nil where there is none.
	blocks [len(loggedTables)]*block
}

// loggedTables are the tables whose rows come in batches; roll-ups are made of
// them.
var loggedTables = [...]store.Table{store.Connections, store.Samples, store.Events, store.Peaks, store.UsageTable}

func (b *loggedBatch) rows() (n uint64) {
	for _, bl := range b.blocks {
		if bl != nil {
			n += uint64(bl.rows)
		}
	}
	return n
}

var errBatch = fmt.Errorf("batch: %w", store.ErrDamaged)

// parseBatch reads a batch. Its blocks share p.
func parseBatch(seq uint64, p []byte) (*loggedBatch, error) {
	r := byteReader{b: p}
	if v := r.byte(); r.bad || v != formatVersion {
		return nil, fmt.Errorf("batch of version %d: %w", v, store.ErrVersion)
	}
	b := &loggedBatch{seq: seq}
	agent := r.bytes(r.uvarint())
	if len(agent) > maxAgent {
		return nil, errBatch
	}
	b.id = store.BatchID{Agent: string(agent), Epoch: r.uvarint(), Sequence: r.uvarint()}
	b.time = r.varint()
	last := -1
	for range r.byte() {
		t := store.Table(r.byte())
		rows := r.uvarint()
		body := r.bytes(r.uvarint())
		at := tableIndex(t)
		if !r.bad && at < 0 {
			return nil, fmt.Errorf("batch with table %d: %w", t, store.ErrVersion)
		}
		if r.bad || at <= last {
			return nil, fmt.Errorf("%w: table %d", errBatch, t)
		}
		last = at
		bl, err := parseBlock(rows, body)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t, err)
		}
		b.blocks[at] = &bl
	}
	if r.bad || len(r.b) != 0 {
		return nil, errBatch
	}
	return b, nil
}

// tableIndex is the place of a table in loggedTables, -1 if it has none.
func tableIndex(t store.Table) int {
	for i, l := range loggedTables {
		if l == t {
			return i
		}
	}
	return -1
}

// check decodes all of a batch, so that nothing of it fails later.
func (b *loggedBatch) check(v *vec) error {
	for i, bl := range b.blocks {
		if bl == nil {
			continue
		}
		t := tables[loggedTables[i]]
		for j := range bl.columns {
			c := t.column(bl.columns[j].tag)
			if c == nil {
				return fmt.Errorf("table %s: column %d: %w", t.Table, bl.columns[j].tag, store.ErrVersion)
			}
			v.reset(c.typ)
			if err := bl.columns[j].decode(v, bl.rows); err != nil {
				return fmt.Errorf("table %s, column %s: %w", t.Table, c.name, err)
			}
		}
		if c := bl.column(t.timeTag()); c == nil || c.enc&encKnown != 0 {
			return fmt.Errorf("table %s: %w: row without time", t.Table, errBatch)
		}
	}
	return nil
}
