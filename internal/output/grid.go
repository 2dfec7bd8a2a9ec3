package output

import "github.com/mattn/go-runewidth"

// GridColumn heads a column of a Grid; see Column.
type GridColumn struct {
	Head  string
	Right bool
	Drop  int
}

// Grid lays out texts that are no fields of connections, such as those of groups,
// as Table does.
type Grid struct {
	Columns []GridColumn
	// Width is the terminal's; 0 is no limit.
	Width int
	// NoHeader leaves the heads out.
	NoHeader bool

	rows []gridRow
}

type gridRow struct {
	cells []string
	color string
}

// Add adds a row of one cell for each column. Texts are made harmless.
func (g *Grid) Add(cells ...string) { g.AddColored("", cells...) }

// AddColored is Add with an escape sequence that begins the colour of the row; the
// empty one is none.
func (g *Grid) AddColored(color string, cells ...string) {
	clean := make([]string, len(g.Columns))
	for i := range clean {
		if i < len(cells) {
			clean[i] = Clean(cells[i])
		}
	}
	g.rows = append(g.rows, gridRow{clean, color})
}

// Len is how many rows there are.
func (g *Grid) Len() int { return len(g.rows) }

// Append appends the table, one line for each row.
func (g *Grid) Append(b []byte) []byte {
	t := &Table{Width: g.Width, Columns: make([]Column, len(g.Columns))}
	widths := make([]int, len(g.Columns))
	for i, c := range g.Columns {
		t.Columns[i] = Column{Head: c.Head, Right: c.Right, Drop: c.Drop}
		if !g.NoHeader {
			widths[i] = Width(c.Head)
		}
		for _, r := range g.rows {
			widths[i] = max(widths[i], Width(r.cells[i]))
		}
	}
	shown := t.fit(widths)
	line := func(cell func(i int) string, color string) {
		from := len(b)
		for n, i := range shown {
			b = t.appendCell(b, i, n == len(shown)-1, []byte(cell(i)), widths[i], color)
		}
		for color == "" && len(b) > from && b[len(b)-1] == ' ' {
			b = b[:len(b)-1]
		}
		b = append(b, '\n')
	}
	if !g.NoHeader {
		line(func(i int) string { return g.Columns[i].Head }, "")
	}
	for _, r := range g.rows {
		line(func(i int) string { return r.cells[i] }, r.color)
	}
	return b
}

// Width is the number of terminal cells that a clean text takes.
func Width(s string) int { return textWidth([]byte(s)) }

// Cut shortens a clean text to a number of terminal cells, with an ellipsis where
// it was cut.
func Cut(s string, width int) string {
	switch {
	case Width(s) <= width:
		return s
	case width <= 0:
		return ""
	}
	return runewidth.Truncate(s, width, "…")
}

// Escape sequences of colours, for rows of a Grid and what else a command paints.
const (
	Off    = colorOff
	Green  = colorGreen
	Yellow = colorYellow
	Red    = colorRed
	Blue   = colorBlue
	Dim    = colorDim
)
