package parquet

import (
	"reflect"
	"slices"

	"github.com/parquet-go/parquet-go"

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

// schemaOf describes columns to Parquet: in the order of their tags, which are
// the field ids.
func schemaOf(t *table, columns []column, optional []bool) *parquet.Schema {
	group := make(parquet.Group, len(columns))
	fields := make([]parquet.Field, 0, len(columns))
	for i := range columns {
		c := &columns[i]
		n := nodeOf(c)
		if optional[i] {
			n = parquet.Optional(n)
		}
		n = parquet.FieldID(n, int(c.tag))
		group[c.name] = n
		fields = append(fields, namedNode{n, c.name})
	}
	return parquet.NewSchema(t.String(), orderedGroup{group, fields})
}

func nodeOf(c *column) parquet.Node {
	switch c.typ {
	case store.String, store.Addr:
		return compressed(parquet.Encoded(parquet.String(), &parquet.RLEDictionary))
	case store.Bytes:
		return compressed(parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.DeltaLengthByteArray))
	case store.Time:
		if c.hint == store.Repeated {
			return compressed(parquet.Encoded(parquet.Timestamp(parquet.Nanosecond), &parquet.RLEDictionary))
		}
		return parquet.Encoded(parquet.Timestamp(parquet.Nanosecond), &parquet.DeltaBinaryPacked)
	case store.ID:
		return parquet.Encoded(parquet.Uint(64), &parquet.Plain)
	case store.Bool:
		return compressed(parquet.Leaf(parquet.BooleanType))
	case store.Uint64:
		return numberNode(parquet.Uint(64), c.hint)
	case store.Uint32:
		return numberNode(parquet.Uint(32), c.hint)
	default:
		return numberNode(parquet.Uint(16), c.hint)
	}
}

// numberNode packs numbers that vary into as many bits as they need, which makes
// them smaller than zstd makes whole words, and costs less. Of numbers that rise
// zstd finds the high bytes in the row before; one that falls out of line makes a
// whole block of differences wide.
func numberNode(n parquet.Node, h store.Hint) parquet.Node {
	switch h {
	case store.Repeated:
		return compressed(parquet.Encoded(n, &parquet.RLEDictionary))
	case store.Rising:
		return compressed(parquet.Encoded(n, &parquet.Plain))
	default:
		return parquet.Encoded(n, &parquet.DeltaBinaryPacked)
	}
}

func compressed(n parquet.Node) parquet.Node { return parquet.Compressed(n, compression) }

// writerOptions are those of a segment of so many rows.
func writerOptions(t *table, s *parquet.Schema, rows int) []parquet.WriterOption {
	var filters []parquet.BloomFilterColumn
	for _, tag := range t.bloom {
		filters = append(filters, parquet.SplitBlockFilter(bloomBits, t.column(tag).name))
	}
	options := []parquet.WriterOption{
		s,
		parquet.CreatedBy("viewtcp", "store", "1"),
		parquet.Compression(&parquet.Uncompressed), // unless its node says otherwise
		parquet.BloomFilters(filters...),
		parquet.PageBufferSize(min(pageBytes, (rows+1)*pageBytes/pageRows)),
		parquet.DataPageVersion(1),        // those of version 2 leave the levels uncompressed
		parquet.DataPageStatistics(false), // the column index has them
	}
	// Only the order of rows makes bounds of texts narrow.
	for i := range t.columns {
		if c := &t.columns[i]; textual(c.typ) && !slices.Contains(t.sort, c.tag) {
			options = append(options, parquet.SkipPageBounds(c.name))
		}
	}
	return options
}

const (
	// bloomBits a value leaves about one wrong answer in a hundred.
	bloomBits = 10
	// pageRows is how many rows a page holds, in all columns alike, so that
	// columns are read side by side; pageBytes, which the library allocates for each
	// column, is just more than that many numbers take.
	pageRows  = 8192
	pageBytes = 128 << 10
)

var compression = newZstd()

// orderedGroup is a group whose fields keep their order; the library's own sorts
// them by name.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func (g orderedGroup) Fields() []parquet.Field { return g.fields }

// namedNode is one field of an orderedGroup. Rows are written and read column by
// column, never out of Go values.
type namedNode struct {
	parquet.Node
	name string
}

func (n namedNode) Name() string                          { return n.name }
func (n namedNode) Value(reflect.Value) (v reflect.Value) { return v }
