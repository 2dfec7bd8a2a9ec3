package tcp

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Kind is the type of a field's values: how they compare, print and parse.
type Kind uint8

// Kinds of values.
const (
	KindString   Kind = iota + 1
	KindEnum          // a string out of Field.Enum
	KindUint          // a count or a number without unit
	KindBool          // 0 or 1
	KindTime          // nanoseconds since 1970 UTC; RFC 3339 in JSON
	KindDuration      // microseconds
	KindBytes         // bytes
	KindRate          // bytes per second
	KindAddr          // IP address
	KindPort          // TCP port
	KindState         // State
	KindID            // ID; "c" and 13 characters
	KindCookie        // 64-bit number, a string in JSON
)

var kindNames = []string{
	"", "string", "enum", "count", "bool", "time", "duration", "bytes", "rate", "address",
	"port", "state", "id", "cookie",
}

func (k Kind) String() string { return nameOf(kindNames, uint8(k)) }

// Field is one thing known about a connection. Every name, unit and column that
// a user meets comes from this description.
type Field struct {
	// Name is the key in JSON and CSV, the column of --columns and the
	// canonical name in filters. It ends in the unit where there is one.
	Name string
	// Short is the name without its unit, for filters; empty when it is Name.
	Short string
	// Aliases are other names that filters know.
	Aliases []string
	// Column heads the field in tables.
	Column string
	Group  Group
	Kind   Kind
	// Enum lists the values of KindEnum.
	Enum []string
	// Doc says what the value is, in one sentence with its source.
	Doc string
	// Table is the place of the field in the default table, from 1; Drop is the
	// order in which columns are given up on a narrow terminal, 1 first. 0 in
	// Table leaves it out of the default table.
	Table, Drop int

	// Bit, if not 0, is the bit of Conn.Has without which the value is unknown:
	// a test that costs less than the getter.
	Bit Has
	// Exactly one getter is set, by Kind: Str for strings and enums, Addr for
	// addresses, Num for all else. ok is false when the value is unknown. The
	// getters allocate nothing.
	Num  func(*Conn) (v uint64, ok bool)
	Str  func(*Conn) (v string, ok bool)
	Addr func(*Conn) (v Addr, ok bool)
}

// Group orders fields for documentation and detail views.
type Group uint8

// The groups of fields.
const (
	GroupIdentity Group = iota + 1
	GroupEnds
	GroupProcess
	GroupLife
	GroupVolume
	GroupPath
	GroupWindows
	GroupPackets
)

var groupNames = []string{
	"", "identity", "ends", "process", "life", "volume", "path", "windows", "packets",
}

func (g Group) String() string { return nameOf(groupNames, uint8(g)) }

// Known reports whether the field has a value for c.
func (f *Field) Known(c *Conn) bool {
	switch {
	case f.Num != nil:
		_, ok := f.Num(c)
		return ok
	case f.Str != nil:
		_, ok := f.Str(c)
		return ok
	default:
		_, ok := f.Addr(c)
		return ok
	}
}

// AppendText appends the plain text form of the field for c, the one of CSV:
// integers in base units, RFC 3339 times. ok is false, and nothing appended,
// when the value is unknown. Strings are appended raw.
func (f *Field) AppendText(b []byte, c *Conn) (_ []byte, ok bool) {
	switch {
	case f.Str != nil:
		s, ok := f.Str(c)
		return append(b, s...), ok
	case f.Addr != nil:
		a, ok := f.Addr(c)
		if !ok {
			return b, false
		}
		return a.AppendTo(b), true
	default:
		v, ok := f.Num(c)
		if !ok {
			return b, false
		}
		return f.AppendNum(b, v), true
	}
}

// AppendNum appends a value of a field with a Num getter, as AppendText does.
func (f *Field) AppendNum(b []byte, v uint64) []byte {
	switch f.Kind {
	case KindState:
		return append(b, State(v).String()...)
	case KindID:
		return ID(v).AppendTo(b)
	case KindBool:
		return strconv.AppendBool(b, v != 0)
	case KindTime:
		return AppendTime(b, int64(v))
	default:
		return strconv.AppendUint(b, v, 10)
	}
}

// AppendTime appends wall nanoseconds as RFC 3339 in UTC with nine digits.
func AppendTime(b []byte, wall int64) []byte {
	t := time.Unix(0, wall).UTC()
	b = t.AppendFormat(b, time.RFC3339) // this layout has a fast path
	b[len(b)-1] = '.'
	ns := uint64(t.Nanosecond())
	for unit := uint64(100_000_000); unit > 0; unit /= 10 {
		b = append(b, byte('0'+ns/unit%10))
	}
	return append(b, 'Z')
}

// Compare orders two connections by the field; unknown sorts last. It returns
// as cmp.Compare does.
func (f *Field) Compare(a, b *Conn) int {
	switch {
	case f.Num != nil:
		x, xok := f.Num(a)
		y, yok := f.Num(b)
		return compareKnown(x, y, xok, yok)
	case f.Str != nil:
		x, xok := f.Str(a)
		y, yok := f.Str(b)
		return compareKnown(x, y, xok, yok)
	default:
		x, xok := f.Addr(a)
		y, yok := f.Addr(b)
		if xok && yok {
			return x.IP().Compare(y.IP())
		}
		return compareKnown(0, 0, xok, yok)
	}
}

// LargestFirst reports whether lists begin with the largest value of the field, as
// those of numbers do.
func (f *Field) LargestFirst() bool {
	return f.Num != nil && f.Kind != KindState && f.Kind != KindPort
}

// Order compares as lists are sorted by the field: the largest first if LargestFirst
// says so, the other way round with reverse, and what is unknown last either way. To
// a stable sort, connections that are equal stay in their order either way.
func (f *Field) Order(reverse bool) func(a, b *Conn) int {
	sign := 1
	if f.LargestFirst() != reverse {
		sign = -1
	}
	return func(a, b *Conn) int {
		if ka, kb := f.Known(a), f.Known(b); ka != kb || !ka {
			return f.Compare(a, b)
		}
		return sign * f.Compare(a, b)
	}
}

func compareKnown[T uint64 | string | int](x, y T, xok, yok bool) int {
	switch {
	case xok && !yok:
		return -1
	case !xok && yok:
		return 1
	case !xok || x == y:
		return 0
	case x < y:
		return -1
	default:
		return 1
	}
}

// Fields returns the registry, in the order of documentation and of JSON keys.
// It is shared: callers must not change it.
func Fields() []*Field { return registry }

// FieldByName finds a field by any of its names, in any case; nil if there is
// none.
func FieldByName(name string) *Field {
	if f, ok := byName[name]; ok {
		return f
	}
	return byName[lower(name)]
}

// FieldsByName is FieldByName for lists, in which local and remote stand for an
// address and its port; empty if there is no such field.
func FieldsByName(name string) []*Field {
	if name == "local" || name == "remote" {
		return []*Field{FieldByName(name + "_ip"), FieldByName(name + "_port")}
	}
	if f := FieldByName(name); f != nil {
		return []*Field{f}
	}
	return nil
}

// FieldNames lists the canonical names, sorted.
func FieldNames() []string {
	names := make([]string, 0, len(registry))
	for _, f := range registry {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

func lower(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for j := range b {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

var byName = indexFields(registry)

func indexFields(fields []*Field) map[string]*Field {
	m := make(map[string]*Field, 2*len(fields))
	for _, f := range fields {
		m[f.Name] = f
		if f.Short != "" {
			m[f.Short] = f
		}
		for _, a := range f.Aliases {
			m[a] = f
		}
	}
	return m
}

// AddrOf is a convenience for callers with a standard library address.
func AddrOf(s string) (Addr, error) {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return Addr{}, err
	}
	return AddrFrom(ip), nil
}
