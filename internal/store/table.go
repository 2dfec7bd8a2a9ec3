package store

import "github.com/viewtcp/viewtcp/internal/tcp"

// Table numbers a kind of rows, on disk too: numbers are never reused.
type Table uint8

// The tables.
const (
	Connections Table = 1
	Samples     Table = 2
	Events      Table = 3
	Peaks       Table = 4
	Rollups1m   Table = 5
	Rollups1h   Table = 6
	UsageTable  Table = 7
)

var tableNames = [...]string{"", "connections", "samples", "events", "peaks", "rollup_1m", "rollup_1h", "usage"}

// Tables lists all tables.
func Tables() []Table {
	return []Table{Connections, Samples, Events, Peaks, Rollups1m, Rollups1h, UsageTable}
}

func (t Table) String() string {
	if int(t) < len(tableNames) {
		return tableNames[t]
	}
	return ""
}

// Type is how values of a column are kept.
type Type uint8

// The types of columns. Numbers are unsigned unless said otherwise.
const (
	Uint64 Type = iota + 1
	Uint32
	Uint16
	Bool   // 0 or 1
	Time   // nanoseconds since 1970 UTC, signed
	ID     // 64 bits without any order
	String // UTF-8 or whatever the kernel gave
	Addr   // tcp.Addr
	Bytes  // encoded by its owner
)

// Hint says what the values of a column are like, for engines that can choose
// how to encode them. It changes no value.
type Hint uint8

// The hints.
const (
	// Varied values repeat rarely.
	Varied Hint = iota
	// Repeated values come from a small set.
	Repeated
	// Rising values differ little from those of the row before.
	Rising
)

// Part is a set of columns that are all unknown in most rows.
type Part uint8

// The parts of connections' rows: what only captured packets show, and deltas.
const (
	PartPackets Part = 1 << iota
	PartDeltas
)

// A Column is one value of the rows of a table. Exactly one getter and its
// setter are set, by Type: Str for String and Bytes, Addr for Addr, Num for all
// else. ok is false when the value is unknown; such a value is not kept, and
// reading it back leaves it unknown.
type Column[T any] struct {
	// Tag numbers the column within its table for good.
	Tag  uint16
	Name string
	Type Type
	Hint Hint
	// Part marks columns that are unknown together; 0 is none.
	Part Part

	Num  func(*T) (v uint64, ok bool)
	Str  func(*T) (v string, ok bool)
	Addr func(*T) (v tcp.Addr, ok bool)

	SetNum  func(*T, uint64)
	SetStr  func(*T, string)
	SetAddr func(*T, tcp.Addr)
}

// num is a column of numbers of which zero is unknown.
func num[T any](tag uint16, name string, typ Type, hint Hint, at func(*T) *uint64) Column[T] {
	return Column[T]{
		Tag: tag, Name: name, Type: typ, Hint: hint,
		Num:    func(r *T) (uint64, bool) { v := *at(r); return v, v != 0 },
		SetNum: func(r *T, v uint64) { *at(r) = v },
	}
}

// count is a column of numbers that are always known.
func count[T any](tag uint16, name string, typ Type, hint Hint, at func(*T) *uint64) Column[T] {
	c := num(tag, name, typ, hint, at)
	c.Num = func(r *T) (uint64, bool) { return *at(r), true }
	return c
}

// when is a column of times of which zero is unknown.
func when[T any](tag uint16, name string, at func(*T) *int64) Column[T] {
	return Column[T]{
		Tag: tag, Name: name, Type: Time, Hint: Rising,
		Num:    func(r *T) (uint64, bool) { v := *at(r); return uint64(v), v != 0 },
		SetNum: func(r *T, v uint64) { *at(r) = int64(v) },
	}
}

// text is a column of strings of which the empty one is unknown.
func text[T any](tag uint16, name string, at func(*T) *string) Column[T] {
	return Column[T]{
		Tag: tag, Name: name, Type: String, Hint: Repeated,
		Str:    func(r *T) (string, bool) { v := *at(r); return v, v != "" },
		SetStr: func(r *T, v string) { *at(r) = v },
	}
}
