package output

import (
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

// What commands print outside of tables, JSON and CSV is made by internal/text;
// the names below let a command do with this package alone.

// Unknown is what people see of a value that is not known.
const Unknown = text.Unknown

// AppendClean is text.AppendClean.
func AppendClean(b []byte, s string) []byte { return text.AppendClean(b, s) }

// Clean is text.Clean.
func Clean(s string) string { return text.Clean(s) }

// AppendHuman is text.AppendHuman.
func AppendHuman(b []byte, f *tcp.Field, c *tcp.Conn) []byte { return text.AppendHuman(b, f, c) }

// AppendMicros is text.AppendMicros.
func AppendMicros(b []byte, us uint64) []byte { return text.AppendMicros(b, us) }

// AppendBytes is text.AppendBytes.
func AppendBytes(b []byte, n uint64) []byte { return text.AppendBytes(b, n) }
