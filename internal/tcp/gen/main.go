// Command gen writes docs/fields.md out of the registry of fields, so that the
// documentation cannot differ from the program.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: gen FILE")
	}
	if err := os.WriteFile(os.Args[1], render(tcp.Fields()), 0o644); err != nil {
		fail("writing the fields: " + err.Error())
	}
}

func fail(msg string) {
	fmt.Fprintln(os.Stderr, msg)
	os.Exit(1) //nolint:forbidigo // a generator is a command of its own
}

const head = `<!-- Written by go generate out of internal/tcp: change it there. -->

# Fields

One field has one name everywhere: it is the key in JSON, the column of CSV and of
` + "`--columns`" + `, and a name in filters ([filters.md](filters.md)). What is unknown is absent
in JSON, empty in CSV and ` + "`--`" + ` in tables, never zero.
`

// groupDocs says what each group is about.
var groupDocs = map[tcp.Group]string{
	tcp.GroupIdentity: "Which connection this is, and who saw it.",
	tcp.GroupEnds:     "The two ends and what they are called.",
	tcp.GroupProcess:  "The process behind the connection.",
	tcp.GroupLife:     "State, times and the end.",
	tcp.GroupVolume:   "How much was carried, and what waits.",
	tcp.GroupPath:     "What the network did to it.",
	tcp.GroupWindows:  "What bounded it.",
	tcp.GroupPackets:  "What only packets show: from captures.",
}

// units says how the values of each kind are written.
var units = map[tcp.Kind]string{
	tcp.KindString:   "text",
	tcp.KindUint:     "number",
	tcp.KindBool:     "true or false",
	tcp.KindTime:     "RFC 3339 time",
	tcp.KindDuration: "microseconds",
	tcp.KindBytes:    "bytes",
	tcp.KindRate:     "bytes per second",
	tcp.KindAddr:     "IP address",
	tcp.KindPort:     "port",
	tcp.KindState:    "state",
	tcp.KindID:       "id (string)",
	tcp.KindCookie:   "number (string in JSON)",
}

func render(fields []*tcp.Field) []byte {
	var b bytes.Buffer
	b.WriteString(head)
	for g := tcp.GroupIdentity; g.String() != ""; g++ {
		title := g.String()
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", strings.ToUpper(title[:1])+title[1:], groupDocs[g])
		b.WriteString("| field | also in filters | column | values | meaning |\n|---|---|---|---|---|\n")
		for _, f := range fields {
			if f.Group == g {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, names(f), cell(f.Column), cell(values(f)), cell(f.Doc))
			}
		}
	}
	return b.Bytes()
}

// names lists the other names of a field.
func names(f *tcp.Field) string {
	var out []string
	if f.Short != "" {
		out = append(out, "`"+f.Short+"`")
	}
	for _, a := range f.Aliases {
		out = append(out, "`"+a+"`")
	}
	return strings.Join(out, " ")
}

func values(f *tcp.Field) string {
	if f.Kind != tcp.KindEnum {
		return units[f.Kind]
	}
	var out []string
	for _, e := range f.Enum {
		if e != "" {
			out = append(out, e)
		}
	}
	return strings.Join(out, ", ")
}

// cell keeps a text from ending the cell of a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "&#124;") }
