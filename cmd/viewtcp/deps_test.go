package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// module is the path before every package of ours.
const module = "github.com/viewtcp/viewtcp"

// A layer says what the product code of one directory, and of those below it,
// may import from the rest of the module. Tests are free to import more.
type layer struct {
	dir string
	// may lists directories; each stands for itself alone, but a layer may
	// always import what lies below it.
	may []string
	why string
	// planned marks a directory that does not exist yet. The test fails when
	// it appears, so that the mark goes and the rule becomes active.
	planned bool
}

const anything = "..."

var (
	sourceMay  = []string{"internal/tcp", "internal/netns", "internal/host"}
	backEndMay = []string{"internal/tcp", "internal/filter", "internal/wire"}
	storeMay   = append([]string{"internal/disk"}, backEndMay...)

	sourceWhy  = "a source reports what it saw; merging and naming happen elsewhere"
	backEndWhy = "it declares the small interfaces it needs and never sees a source or the tracker"
)

// layers is the architecture: the import rules of ARCHITECTURE.md.
var layers = []layer{
	{dir: "cmd/viewtcp", may: []string{anything}, why: "the one place that knows everything"},

	{dir: "internal/tcp", why: "the model is what all agree on, so it depends on nobody"},
	{dir: "internal/netns", may: []string{"internal/tcp"}, why: "enters namespaces for whoever asks"},
	{dir: "internal/host", may: []string{"internal/tcp"}, why: "facts about this machine and process"},
	{dir: "internal/disk", may: []string{"internal/tcp"}, why: "locks and syncs files for whoever asks"},

	{dir: "internal/bpf", may: sourceMay, why: sourceWhy},
	{dir: "internal/sockdiag", may: sourceMay, why: sourceWhy},
	{dir: "internal/procfs", may: sourceMay, why: sourceWhy},
	{dir: "internal/osnet", may: sourceMay, why: sourceWhy, planned: true},

	{dir: "internal/filter", may: []string{"internal/tcp"}, why: "a predicate over the model, the same in every view"},
	{dir: "internal/wire", may: []string{"internal/tcp"}, why: "carries the model between roles"},
	{dir: "internal/track", may: []string{"internal/tcp"}, why: "merges observations, whoever made them"},
	{dir: "internal/enrich", may: []string{"internal/tcp", "internal/host"}, why: "adds names and never blocks the tracker"},
	{dir: "internal/moment", why: "times as people write them; the clock is the caller's"},
	{dir: "internal/chart", why: "numbers become characters, whatever they count"},
	{dir: "internal/text", may: []string{"internal/tcp"}, why: "values as people read them, the same in every view"},
	{dir: "internal/output", may: []string{"internal/tcp", "internal/text"}, why: "prints fields out of the registry"},
	{dir: "internal/report", may: []string{"internal/tcp"}, why: "a page of what an analysis hands over, from the registry"},

	{dir: "internal/capture", may: []string{"internal/tcp", "internal/filter", "internal/disk"}, why: "packets in and out, filtered"},
	{dir: "internal/analysis", may: []string{"internal/tcp", "internal/capture"}, why: "packets become connections"},

	{dir: "internal/store", may: storeMay, why: backEndWhy},
	{dir: "internal/metrics", may: backEndMay, why: backEndWhy, planned: true},
	{dir: "internal/alert", may: backEndMay, why: backEndWhy, planned: true},
	{dir: "internal/fleet", may: backEndMay, why: backEndWhy, planned: true},
	{dir: "internal/explain", may: backEndMay, why: backEndWhy, planned: true},
	{dir: "internal/tui", may: []string{"internal/tcp", "internal/filter", "internal/text", "internal/chart"}, why: "what it shows and does is handed to it; it never sees a source or the tracker"},
	{dir: "internal/tail", may: []string{"internal/store"}, why: "lines of files become marks; it knows no connections"},
	{dir: "internal/bundle", may: []string{"internal/tcp", "internal/store"}, why: "rows in a file; who writes or reads one has the store"},
	{dir: "internal/usage", may: []string{"internal/tcp", "internal/store", "internal/host"}, why: "what hosts and processes use, as rows for whoever asks"},
	{dir: "internal/api", may: []string{"internal/tcp", "internal/filter", "internal/store", "internal/output"}, why: "what both ends of HTTP agree on; it talks to nobody"},
	{dir: "internal/web", may: []string{"internal/tcp", "internal/filter", "internal/store", "internal/text", "internal/api"}, why: backEndWhy},

	{dir: "internal/client", may: []string{"internal/tcp", "internal/store", "internal/api"}, why: "asks a daemon, whatever that is made of"},

	{dir: "internal/tcptest", may: []string{anything}, why: "test support may stand on all that it tests"},
}

// restricted lists directories that only some may import, on top of layers.
var restricted = []struct {
	dir string
	by  []string
	why string
}{
	{"cmd/viewtcp", nil, "nothing imports a command"},
	{"internal/tcptest", []string{"internal/tcptest"}, "test support stays out of the product"},
	{"internal/output", []string{"cmd/viewtcp", "internal/api"}, "rendering is for the command line and for the API, whose keys are the same"},
	{"internal/report", []string{"cmd/viewtcp"}, "the command hands packets to the page; nobody else needs one"},
}

// An owner holds a package from outside the module, and all below it.
type owner struct {
	path string
	by   []string
	why  string
	// planned marks a package that nobody imports yet.
	planned bool
	// tests allows it in every test.
	tests bool
}

var osPackages = []string{
	"internal/bpf", "internal/sockdiag", "internal/procfs", "internal/osnet", "internal/capture",
	"internal/netns", "internal/host", "internal/tcptest",
}

// owners names who may touch what. Each module in go.mod that we import
// ourselves must stand here, and so must the parts of the standard library that
// are too sharp for everyone.
var owners = []owner{
	{path: "github.com/cilium/ebpf", by: []string{"internal/bpf", "internal/tcptest"}, why: "one package loads BPF"},
	{path: "github.com/mdlayher/netlink", by: []string{"internal/sockdiag"}, why: "sockdiag reads into memory of its own; see ARCHITECTURE.md", planned: true},
	{path: "github.com/spf13/cobra", by: []string{"cmd/viewtcp"}, why: "only cmd reads flags"},
	{path: "github.com/spf13/pflag", by: []string{"cmd/viewtcp"}, why: "only cmd reads flags"},
	{path: "go.yaml.in/yaml/v3", by: []string{"cmd/viewtcp"}, tests: true, why: "only cmd reads configuration; a test reads the API's description"},
	{path: "github.com/mattn/go-runewidth", by: []string{"internal/output", "internal/text", "internal/tui", "internal/tcptest"}, why: "only what prints measures text"},
	{path: "golang.org/x/term", by: []string{"cmd/viewtcp", "internal/tui"}, why: "only cmd knows of a terminal"},
	{path: "golang.org/x/sys/unix", by: append([]string{"cmd/viewtcp", "internal/wire"}, osPackages...), why: "system calls stay at the edge; wire asks who its peer is"},
	{path: "golang.org/x/sys/windows", by: []string{"cmd/viewtcp", "internal/osnet"}, why: "system calls stay at the edge", planned: true},
	{path: "github.com/google/go-cmp", by: []string{"internal/tcptest"}, tests: true, why: "for tests"},
	{path: "go.uber.org/goleak", by: []string{"internal/tcptest"}, tests: true, why: "for tests"},

	{path: "golang.org/x/net/bpf", by: []string{"internal/capture"}, why: "classic BPF belongs to who attaches it"},

	{path: "unsafe", by: osPackages, why: "only who talks to the kernel needs it"},
	{path: "os/exec", by: []string{"cmd/viewtcp", "internal/tcptest"}, tests: true, why: "the product starts no programs; cmd may start itself in another role"},
	{path: "testing", by: []string{"internal/tcptest"}, tests: true, why: "for tests"},
	{path: "C", why: "one static binary, without cgo", planned: true},

	{path: "github.com/shirou/gopsutil", by: []string{"internal/osnet"}, why: "other systems have one owner", planned: true},
	{path: "github.com/gopacket/gopacket", by: []string{"internal/capture"}, why: "hidden behind our own interface", planned: true},
	{path: "github.com/klauspost/compress", by: []string{"internal/capture", "internal/store", "internal/fleet", "internal/web"}, why: "streams only"},
	{path: "github.com/oschwald/maxminddb-golang", by: []string{"internal/enrich"}, why: "names have one owner", planned: true},
	{path: "github.com/parquet-go/parquet-go", by: []string{"internal/store"}, why: "databases have one owner"},
	{path: "github.com/ClickHouse", by: []string{"internal/store"}, why: "databases have one owner", planned: true},
	{path: "go.etcd.io/bbolt", by: []string{"internal/store"}, why: "databases have one owner", planned: true},
	{path: "github.com/prometheus", by: []string{"internal/metrics", "internal/alert"}, why: "time series have one owner", planned: true},
	{path: "charm.land", by: []string{"internal/tui"}, why: "the terminal library has one owner"},
	{path: "github.com/charmbracelet", by: []string{"internal/tui"}, why: "the terminal library has one owner"},
}

// A pkg is one package as seen on any of the systems we build for.
type pkg struct {
	dir     string // below the module, with slashes
	imports []string
	tests   []string // imports of its tests
}

// TestImportRules holds the tree against the rules, and the rules against the
// tree: one that matches nothing protects nothing.
func TestImportRules(t *testing.T) {
	for _, problem := range checkImports(layers, owners, listPackages(t)) {
		t.Error(problem)
	}
}

// TestImportRulesNotice shows that each kind of offense is seen.
func TestImportRulesNotice(t *testing.T) {
	tree := func(change ...pkg) []pkg {
		return append([]pkg{
			{dir: "cmd/viewtcp", imports: []string{"fmt", module + "/internal/track"}},
			{dir: "internal/tcp", imports: []string{"time"}, tests: []string{"testing"}},
			{dir: "internal/track", imports: []string{module + "/internal/tcp"}},
			{dir: "internal/bpf", imports: []string{"unsafe", "example.org/ebpf/ringbuf"}},
		}, change...)
	}
	ls := []layer{
		{dir: "cmd/viewtcp", may: []string{anything}},
		{dir: "internal/tcp"},
		{dir: "internal/track", may: []string{"internal/tcp"}},
		{dir: "internal/bpf", may: []string{"internal/tcp"}},
		{dir: "internal/web", may: []string{"internal/tcp"}, planned: true},
	}
	os := []owner{
		{path: "unsafe", by: []string{"internal/bpf"}},
		{path: "example.org/ebpf", by: []string{"internal/bpf"}},
		{path: "example.org/cmp", tests: true, planned: true},
	}
	tests := []struct {
		name string
		tree []pkg
		want string // part of a problem; empty: none
	}{
		{"clean", tree(), ""},
		{"below itself", tree(pkg{dir: "internal/track/gap", imports: []string{module + "/internal/tcp"}}), ""},
		{"sideways", tree(pkg{dir: "internal/track", imports: []string{module + "/internal/bpf"}}), "internal/track must not import internal/bpf"},
		{"upwards", tree(pkg{dir: "internal/tcp", imports: []string{module + "/internal/track"}}), "internal/tcp must not import internal/track"},
		{"similar name", tree(pkg{dir: "internal/track", imports: []string{module + "/internal/tcptest"}}), "internal/track must not import internal/tcptest"},
		{"command", tree(pkg{dir: "internal/track", imports: []string{module + "/cmd/viewtcp"}}), "internal/track must not import cmd/viewtcp"},
		{"no rule", tree(pkg{dir: "internal/util"}), "internal/util has no import rule"},
		{"arrived", tree(pkg{dir: "internal/web"}), "internal/web exists: remove planned"},
		{"vanished", tree()[:3], "no package in internal/bpf"},
		{"foreign", tree(pkg{dir: "internal/track", imports: []string{"example.org/ebpf"}}), "internal/track must not import example.org/ebpf"},
		{"foreign in a test", tree(pkg{dir: "internal/track", tests: []string{"example.org/ebpf"}}), "tests of internal/track must not import example.org/ebpf"},
		{"sharp", tree(pkg{dir: "internal/tcp", imports: []string{"unsafe"}}), "internal/tcp must not import unsafe"},
		{"ownerless", tree(pkg{dir: "internal/track", imports: []string{"example.net/left/pad"}}), "example.net/left/pad, which has no owner"},
		{"test library in the product", tree(pkg{dir: "internal/track", imports: []string{"example.org/cmp/diff"}}), "internal/track must not import example.org/cmp/diff"},
		{"test library arrived", tree(pkg{dir: "internal/track", tests: []string{"example.org/cmp/diff"}}), "example.org/cmp is imported: remove planned"},
		{"owner of nothing", append(tree()[:3], pkg{dir: "internal/bpf"}), "no package imports example.org/ebpf"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(checkImports(ls, os, tt.tree), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want a problem with %q", got, tt.want)
			}
		})
	}
}

// TestLinterKnowsTheLayers keeps .golangci.yml, whose rules show an offense in
// the editor, together with the table above.
func TestLinterKnowsTheLayers(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	globs := regexp.MustCompile(`"!?\*\*/((?:internal|cmd)/?[a-z]*)/\*\*"`)
	positive := make(map[string]bool)
	for _, m := range globs.FindAllStringSubmatch(string(text), -1) {
		dir := m[1]
		if !strings.Contains(dir, "/") {
			continue // all of cmd or internal
		}
		i := slices.IndexFunc(layers, func(l layer) bool { return l.dir == dir })
		if i < 0 || layers[i].planned {
			t.Errorf(".golangci.yml has a rule for %s, which does not exist", dir)
		}
		if !strings.HasPrefix(m[0], `"!`) {
			positive[dir] = true
		}
	}
	for _, l := range layers {
		if !l.planned && !slices.Contains(l.may, anything) && !positive[l.dir] {
			t.Errorf(".golangci.yml has no depguard rule for %s", l.dir)
		}
	}
}

// TestGeneratedTypesStayInside checks that what bpf2go wrote exports nothing:
// the layout of kernel events is no contract for the rest of the program.
func TestGeneratedTypesStayInside(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "internal", "bpf", "*_bpfe[lb].go"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no generated file found in internal/bpf")
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			for _, id := range declared(d) {
				if id.IsExported() {
					t.Errorf("%s exports %s", filepath.Base(name), id.Name)
				}
			}
		}
	}
}

// declared returns the names that a top-level declaration brings into the
// package; methods bring none.
func declared(d ast.Decl) []*ast.Ident {
	var ids []*ast.Ident
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			ids = append(ids, d.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				ids = append(ids, s.Name)
			case *ast.ValueSpec:
				ids = append(ids, s.Names...)
			}
		}
	}
	return ids
}

// checkImports returns what is wrong, one sentence each.
func checkImports(layers []layer, owners []owner, pkgs []pkg) []string {
	var problems []string
	report := func(format string, args ...any) {
		if s := fmt.Sprintf(format, args...); !slices.Contains(problems, s) {
			problems = append(problems, s)
		}
	}
	exists := make(map[string]bool)   // layers with a package
	imported := make(map[string]bool) // owned packages that someone imports

	for _, p := range pkgs {
		i := slices.IndexFunc(layers, func(l layer) bool { return within(p.dir, l.dir) })
		if i < 0 {
			report("%s has no import rule: give it one in layers", p.dir)
			continue
		}
		l := layers[i]
		exists[l.dir] = true
		for _, path := range p.imports {
			dir, ours := strings.CutPrefix(path, module+"/")
			if !ours {
				o := ownerOf(owners, path)
				switch {
				case o != nil:
					imported[o.path] = true
					if !slices.ContainsFunc(o.by, func(by string) bool { return within(p.dir, by) }) {
						report("%s must not import %s: %s", p.dir, path, o.why)
					}
				case !standard(path):
					report("%s imports %s, which has no owner: give it one in owners", p.dir, path)
				}
				continue
			}
			if !within(dir, l.dir) && !slices.Contains(l.may, dir) && !slices.Contains(l.may, anything) {
				report("%s must not import %s: %s", p.dir, dir, l.why)
			}
			for _, r := range restricted {
				if within(dir, r.dir) && !slices.ContainsFunc(r.by, func(by string) bool { return within(p.dir, by) }) {
					report("%s must not import %s: %s", p.dir, dir, r.why)
				}
			}
		}
		for _, path := range p.tests {
			o := ownerOf(owners, path)
			switch {
			case strings.HasPrefix(path, module+"/"):
			case o != nil:
				imported[o.path] = true
				if !o.tests && !slices.ContainsFunc(o.by, func(by string) bool { return within(p.dir, by) }) {
					report("tests of %s must not import %s: %s", p.dir, path, o.why)
				}
			case !standard(path):
				report("tests of %s import %s, which has no owner: give it one in owners", p.dir, path)
			}
		}
	}
	for _, l := range layers {
		switch {
		case l.planned && exists[l.dir]:
			report("%s exists: remove planned from its rule", l.dir)
		case !l.planned && !exists[l.dir]:
			report("no package in %s: its rule protects nothing", l.dir)
		}
	}
	for _, o := range owners {
		switch {
		case o.planned && imported[o.path]:
			report("%s is imported: remove planned from its rule", o.path)
		case !o.planned && !imported[o.path]:
			report("no package imports %s: its rule protects nothing", o.path)
		}
	}
	return problems
}

// within reports whether path is root or lies below it.
func within(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '/')
}

func ownerOf(owners []owner, path string) *owner {
	for i := range owners {
		if within(path, owners[i].path) {
			return &owners[i]
		}
	}
	return nil
}

// standard reports whether path is in the standard library: no other path may
// lack a dot in its first element.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// listPackages asks the go command for the packages of the module, on each
// system that we build for.
func listPackages(t *testing.T) []pkg {
	t.Helper()
	byDir := make(map[string]*pkg)
	for _, goos := range []string{"linux", "windows", "darwin", "freebsd"} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		need.That(t, !errors.Is(err, exec.ErrNotFound), "the program go")
		if err != nil {
			t.Fatalf("go list on %s: %v\n%s", goos, err, stderr.Bytes())
		}
		dec := json.NewDecoder(bytes.NewReader(out))
		for {
			var p struct {
				ImportPath                         string
				Imports, TestImports, XTestImports []string
			}
			if err := dec.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("go list on %s: %v", goos, err)
			}
			dir := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
			if byDir[dir] == nil {
				byDir[dir] = &pkg{dir: dir}
			}
			q := byDir[dir]
			q.imports = append(q.imports, p.Imports...)
			q.tests = append(append(q.tests, p.TestImports...), p.XTestImports...)
		}
	}
	if len(byDir) == 0 {
		t.Fatal("go list found no package")
	}
	pkgs := make([]pkg, 0, len(byDir))
	for _, p := range byDir {
		slices.Sort(p.imports)
		slices.Sort(p.tests)
		p.imports, p.tests = slices.Compact(p.imports), slices.Compact(p.tests)
		pkgs = append(pkgs, *p)
	}
	slices.SortFunc(pkgs, func(a, b pkg) int { return strings.Compare(a.dir, b.dir) })
	return pkgs
}
