package parquet

import (
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A column of a table, without the type of its rows.
type column struct {
	tag  uint16
	name string
	typ  store.Type
	hint store.Hint
	part store.Part
}

// A table is what the engine knows of a kind of rows.
type table struct {
	store.Table
	columns []column // by ascending tag
	// sort are the tags that rows of a segment are ordered by; the last is a
	// number.
	sort []uint16
	// bloom are the tags that get a bloom filter.
	bloom []uint16
}

func columnsOf[T any](cols []store.Column[T]) []column {
	out := make([]column, len(cols))
	for i := range cols {
		c := &cols[i]
		out[i] = column{c.Tag, c.Name, c.Type, c.Hint, c.Part}
	}
	return out
}

// Every table has its time as a column of its own tag.
const (
	tagRecordTime = store.TagTime
	tagOtherTime  = 1
)

// tables are the kinds of rows, by number.
var tables = map[store.Table]*table{
	store.Connections: {
		Table: store.Connections, columns: columnsOf(store.RecordColumns()),
		sort: []uint16{store.TagService, store.TagTime}, bloom: []uint16{store.TagRemoteIP, store.TagID},
	},
	store.Samples: {
		Table: store.Samples, columns: columnsOf(store.SampleColumns()), sort: []uint16{3, 1},
	},
	store.Events: {
		Table: store.Events, columns: columnsOf(store.EventColumns()), sort: []uint16{1},
	},
	store.Peaks: {
		Table: store.Peaks, columns: columnsOf(store.PeakColumns()), sort: []uint16{2, 3, 4, 5, 6, 1},
	},
	store.Rollups1m: {
		Table: store.Rollups1m, columns: columnsOf(store.RollupColumns()), sort: []uint16{3, 4, 5, 6, 1},
	},
	store.Rollups1h: {
		Table: store.Rollups1h, columns: columnsOf(store.RollupColumns()), sort: []uint16{3, 4, 5, 6, 1},
	},
	store.UsageTable: {
		Table: store.UsageTable, columns: columnsOf(store.UsageColumns()), sort: []uint16{4, 6, 5, 1},
	},
}

func (t *table) timeTag() uint16 {
	if t.Table == store.Connections {
		return tagRecordTime
	}
	return tagOtherTime
}

func (t *table) column(tag uint16) *column {
	for i := range t.columns {
		if t.columns[i].tag == tag {
			return &t.columns[i]
		}
	}
	return nil
}

// named finds a column by its name.
func (t *table) named(name string) *column {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// typeOf is the type of a column in Parquet.
func typeOf(c *column) parquet.Type {
	switch c.typ {
	case store.String, store.Addr:
		return parquet.String().Type()
	case store.Bytes:
		return parquet.ByteArrayType
	case store.Time:
		return parquet.Timestamp(parquet.Nanosecond).Type()
	case store.Bool:
		return parquet.BooleanType
	case store.ID, store.Uint64:
		return parquet.Uint(64).Type()
	case store.Uint32:
		return parquet.Uint(32).Type()
	default:
		return parquet.Uint(16).Type()
	}
}

// isShort reports whether numbers of a type are stored in 32 bits, not 64.
func isShort(t store.Type) bool { return t == store.Uint32 || t == store.Uint16 }

// A form is how the pages of a column are encoded.
type form struct {
	encoding   format.Encoding
	compressed bool
}

// formOf chooses the form of a column. Numbers that vary are packed into as many
// bits as they need, which makes them smaller than zstd makes whole words, and costs
// less. Of numbers that rise zstd finds the high bytes in the row before; one that
// falls out of line makes a whole block of differences wide.
func formOf(c *column) form {
	switch {
	case c.typ == store.String, c.typ == store.Addr:
		return form{format.RLEDictionary, true}
	case c.typ == store.Bytes:
		return form{format.DeltaLengthByteArray, true}
	case c.typ == store.ID:
		return form{format.Plain, false}
	case c.typ == store.Bool:
		return form{format.Plain, true}
	case c.hint == store.Repeated:
		return form{format.RLEDictionary, true}
	case c.typ == store.Time, c.hint == store.Varied:
		return form{format.DeltaBinaryPacked, false}
	default:
		return form{format.Plain, true}
	}
}

const (
	// bloomBits a value leaves about one wrong answer in a hundred.
	bloomBits = 10
	// pageRows is how many rows a page holds, in all columns alike, so that
	// columns are read side by side.
	pageRows = 8192
)

var compression = newZstd()
