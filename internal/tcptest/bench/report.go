package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// A section is a part of the document that one figure owns.
type section struct{ id, title string }

// A report is what one figure found.
type report struct {
	rows  []row
	notes []string
}

// A row is one line of a report's table.
type row struct {
	// what was measured, by which command.
	what, command string
	// ours is the result; peer is the other's, measured in the same run; limit
	// is what ours should be.
	ours, peer, limit string
	verdict           verdict
}

type verdict string

const (
	met    verdict = "yes"
	missed verdict = "**no**"
	open   verdict = "" // nothing to be met
)

func meets(ok bool) verdict {
	if ok {
		return met
	}
	return missed
}

func (r *report) add(w row) { r.rows = append(r.rows, w) }

func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// cell keeps text from ending its column.
func cell(s string) string {
	if s == "" {
		return "–"
	}
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}

// markdown is the section for the document.
func (r *report) markdown(machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", machine)
	if len(r.rows) > 0 {
		b.WriteString("| what | ViewTCP | peer, same run | target | met |\n|---|---|---|---|---|\n")
		for _, w := range r.rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", cell(w.what), cell(w.ours), cell(w.peer), cell(w.limit), cell(string(w.verdict)))
		}
		b.WriteByte('\n')
	}
	var commands []string
	for _, w := range r.rows {
		if w.command != "" && !slices.Contains(commands, w.command) {
			commands = append(commands, w.command)
		}
	}
	if len(commands) > 0 {
		b.WriteString("Commands measured:\n\n```\n" + strings.Join(commands, "\n") + "\n```\n")
	}
	for _, n := range r.notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return b.String()
}

// preface begins a document that does not exist yet. What stands outside of the
// sections is never touched again.
const preface = `# Benchmarks

Every figure below was printed by ` + "`make bench`" + `, beside its peer in the same
run. Machines are shared and noisy, so that processor time is what is compared,
as medians of alternating repetitions; ratios carry over to other machines,
absolute figures do not. Targets that are missed say so.

` + "`make bench ARGS='-w docs/benchmarks.md'`" + ` measures all and rewrites the sections;
` + "`-run P4`" + ` does so for one.
`

func (s section) begin() string { return "<!-- bench " + s.id + " -->\n" }
func (s section) end() string   { return "<!-- end " + s.id + " -->\n" }

// rewrite replaces a section of a document, or adds it.
func rewrite(path string, s section, text string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = []byte(preface), nil
	}
	if err != nil {
		return fmt.Errorf("the document of figures: %w", err)
	}
	doc, err := replace(old, s, text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, doc, 0o644)
}

func replace(doc []byte, s section, text string) ([]byte, error) {
	before, rest, found := bytes.Cut(doc, []byte(s.begin()))
	if !found {
		doc = append(bytes.TrimRight(doc, "\n"), "\n\n## "+s.id+": "+s.title+"\n\n"+s.begin()+text+s.end()...)
		return doc, nil
	}
	_, after, found := bytes.Cut(rest, []byte(s.end()))
	if !found {
		return nil, fmt.Errorf("the section of %s does not end", s.id)
	}
	return slices.Concat(before, []byte(s.begin()+text+s.end()), after), nil
}
