package output

import (
	"slices"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Table lays connections out in columns.
type Table struct {
	Columns []Column
	// Width is the terminal's; 0 is no limit.
	Width int
	// NoHeader leaves the heads out.
	NoHeader bool
	// Color paints states and troubles.
	Color bool
}

const gap = "  "

// Append appends a table of conns, one line each. Columns are given up, the
// least important first, until the rest fits; if even those do not, the last
// one is cut.
func (t *Table) Append(b []byte, conns []*tcp.Conn) []byte {
	cells, widths := t.cells(conns)
	shown := t.fit(widths)
	if !t.NoHeader {
		for n, i := range shown {
			b = t.appendCell(b, i, n == len(shown)-1, []byte(t.Columns[i].Head), widths[i], "")
		}
		b = append(b, '\n')
	}
	for row, c := range conns {
		for n, i := range shown {
			b = t.appendCell(b, i, n == len(shown)-1, cells.at(row, i), widths[i], t.paint(i, c))
		}
		b = append(b, '\n')
	}
	return b
}

// grid holds the text of all cells in one piece of memory.
type grid struct {
	text    []byte
	ends    []int
	columns int
}

func (g *grid) at(row, column int) []byte {
	i := row*g.columns + column
	from := 0
	if i > 0 {
		from = g.ends[i-1]
	}
	return g.text[from:g.ends[i]]
}

func (t *Table) cells(conns []*tcp.Conn) (*grid, []int) {
	g := &grid{columns: len(t.Columns), ends: make([]int, 0, len(conns)*len(t.Columns))}
	widths := make([]int, len(t.Columns))
	if !t.NoHeader {
		for i, c := range t.Columns {
			widths[i] = len(c.Head)
		}
	}
	for _, c := range conns {
		for i := range t.Columns {
			from := len(g.text)
			g.text = t.Columns[i].Append(g.text, c)
			g.ends = append(g.ends, len(g.text))
			widths[i] = max(widths[i], textWidth(g.text[from:]))
		}
	}
	return g, widths
}

// fit chooses the columns that the width has room for.
func (t *Table) fit(widths []int) []int {
	shown := make([]int, len(t.Columns))
	total := -len(gap)
	for i := range t.Columns {
		shown[i] = i
		total += widths[i] + len(gap)
	}
	for t.Width > 0 && total > t.Width {
		least := -1
		for n, i := range shown {
			if d := t.Columns[i].Drop; d > 0 && (least < 0 || d < t.Columns[shown[least]].Drop) {
				least = n
			}
		}
		if least < 0 || len(shown) == 1 {
			break
		}
		total -= widths[shown[least]] + len(gap)
		shown = slices.Delete(shown, least, least+1)
	}
	if over := total - t.Width; t.Width > 0 && over > 0 {
		last := shown[len(shown)-1]
		widths[last] = max(widths[last]-over, 1)
	}
	return shown
}

func (t *Table) appendCell(b []byte, column int, last bool, text []byte, width int, color string) []byte {
	w := textWidth(text)
	if w > width {
		text = []byte(runewidth.Truncate(string(text), width, "…"))
		w = textWidth(text)
	}
	pad := width - w
	if t.Columns[column].Right {
		b = appendSpaces(b, pad)
		pad = 0
	}
	if color != "" {
		b = append(b, color...)
	}
	b = append(b, text...)
	if color != "" {
		b = append(b, colorOff...)
	}
	if last {
		return b
	}
	return append(appendSpaces(b, pad), gap...)
}

func appendSpaces(b []byte, n int) []byte {
	for range n {
		b = append(b, ' ')
	}
	return b
}

// textWidth is the number of terminal cells that a clean text takes.
func textWidth(b []byte) int {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return runewidth.StringWidth(string(b))
		}
	}
	return len(b)
}

const (
	colorOff    = "\x1b[0m"
	colorGreen  = "\x1b[32m"
	colorYellow = "\x1b[33m"
	colorRed    = "\x1b[31m"
	colorBlue   = "\x1b[36m"
	colorDim    = "\x1b[2m"
)

// paint chooses the colour of a cell; empty is none.
func (t *Table) paint(column int, c *tcp.Conn) string {
	if !t.Color || t.Columns[column].Field == nil {
		return ""
	}
	switch t.Columns[column].Field.Name {
	case "state":
		return stateColor(c.State)
	case "retransmits":
		if c.Has&tcp.HasRetransmits != 0 && c.Metrics.Retransmits > 0 {
			return colorYellow
		}
	}
	return ""
}

func stateColor(s tcp.State) string {
	switch s {
	case tcp.Established:
		return colorGreen
	case tcp.Listen:
		return colorBlue
	case tcp.SynSent, tcp.SynRecv, tcp.CloseWait:
		return colorYellow
	case tcp.Closed:
		return colorRed
	default:
		return colorDim
	}
}
