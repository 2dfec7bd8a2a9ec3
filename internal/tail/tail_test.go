package tail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a tailer whose looks and clock are the test's.
type rig struct {
	*Tailer
	t     *testing.T
	path  string
	now   time.Time
	mu    sync.Mutex
	marks []store.Mark
	err   error
}

func newRig(t *testing.T, rules ...Rule) *rig {
	t.Helper()
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "app.log"), now: time.Unix(1_800_000_000, 0)}
	for i := range rules {
		if rules[i].File == "" {
			rules[i].File = r.path
		}
	}
	tl, err := New(Config{
		Rules: rules, Host: "alpha", Every: time.Millisecond, Now: func() time.Time { return r.now },
		Mark: func(_ context.Context, m store.Mark) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.err != nil {
				return r.err
			}
			r.marks = append(r.marks, m)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Tailer = tl
	t.Cleanup(func() {
		for _, f := range tl.files {
			f.close()
		}
	})
	return r
}

func (r *rig) write(flag int, text string) {
	r.t.Helper()
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_CREATE|flag, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) append(text string) { r.t.Helper(); r.write(os.O_APPEND, text) }

func (r *rig) poll() { r.look(r.t.Context()) }

// texts takes the marks made until now.
func (r *rig) texts() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.marks {
		all = append(all, m.Text)
	}
	r.marks = nil
	return all
}

func (r *rig) want(want ...string) {
	r.t.Helper()
	r.poll()
	if diff := cmp.Diff(want, r.texts()); diff != "" {
		r.t.Errorf("marks (-want +got)\n%s", diff)
	}
}

func TestFollow(t *testing.T) {
	r := newRig(t, Rule{Pattern: `deploy (\w+) of (?P<what>\S+)`, Text: "$1: ${what}", From: "ci"})
	r.append("deploy old of web\nhalf a ")
	r.want() // what was there is not news
	r.append("line deploy this of half\n")
	r.want()
	r.append("deploy v1 of web\nnothing\r\ndeploy v2 of db\r\n")
	r.want("v1: web", "v2: db")
	r.append("deploy v3")
	r.want()
	r.append(" of cache\n")
	r.poll()
	if len(r.marks) != 1 || r.marks[0] != (store.Mark{Time: r.now.UnixNano(), Host: "alpha", Text: "v3: cache", From: "ci"}) {
		t.Errorf("got %+v", r.marks)
	}
}

func TestRotation(t *testing.T) {
	r := newRig(t, Rule{Pattern: `^e.*`})
	r.want()
	r.append("e1\n") // it was not there at first: all of it is new
	r.want("e1")
	r.append("e2\ne3 unfinished")
	if err := os.Rename(r.path, r.path+".1"); err != nil {
		t.Fatal(err)
	}
	r.append("e4\n")
	r.want("e2", "e3 unfinished", "e4")
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.want()
	r.append("e5\n")
	r.want("e5")
	if s := r.Stats(); s.Rotations != 2 || s.Truncations != 0 {
		t.Errorf("%+v", s)
	}
}

func TestTruncation(t *testing.T) {
	r := newRig(t, Rule{Pattern: `^e.*`})
	r.want()
	r.append("e1\ne2\n")
	r.want("e1", "e2")
	r.write(os.O_TRUNC, "e3\n")
	r.want("e3")
	// Cut and written beyond where it ended, between two looks.
	r.write(os.O_TRUNC, "e4\n"+strings.Repeat("filler\n", 50)+"e5\n")
	r.want("e4", "e5")
	// The same text again is what was there before, as far as anyone can see.
	r.append("e6\n")
	r.want("e6")
	if s := r.Stats(); s.Truncations != 2 || s.Rotations != 0 {
		t.Errorf("%+v", s)
	}
}

func TestLongAndBinaryLines(t *testing.T) {
	r := newRig(t, Rule{Pattern: `(?s)^e.*`})
	r.want()
	r.append("e" + strings.Repeat("x", 3*maxLine) + "\ne2\n")
	r.poll()
	got := r.texts()
	if len(got) != 2 || len(got[0]) != maxText || got[1] != "e2" {
		t.Fatalf("%d marks, the first of %d bytes", len(got), len(got[0]))
	}
	for i := range 200 { // a long line that comes in pieces
		r.append(strings.Repeat("e", 200))
		if i%50 == 0 {
			r.poll()
		}
	}
	r.append("\ne3\n")
	r.poll()
	if got := r.texts(); len(got) != 2 || got[1] != "e3" {
		t.Errorf("%d marks", len(got))
	}
	r.append("e\xff\xfe\x00\x1b[31mred\n")
	r.poll()
	if got := r.texts(); len(got) != 1 || !utf8.ValidString(got[0]) {
		t.Errorf("%q", got)
	}
	if s := r.Stats(); s.Long != 2 || s.Lines != 5 || s.Matched != 5 {
		t.Errorf("%+v", s)
	}
}

// TestRate checks that each line that matched is in a mark or counted in one.
func TestRate(t *testing.T) {
	r := newRig(t, Rule{Pattern: `^e.*`, Rate: 3, From: "app"})
	r.want()
	var text strings.Builder
	for i := range 10 {
		fmt.Fprintf(&text, "e%d\n", i)
	}
	r.append(text.String())
	r.want("e0", "e1", "e2")
	r.now = r.now.Add(30 * time.Second)
	r.append("e10\n")
	r.want()
	r.now = r.now.Add(31 * time.Second)
	r.want("8 more lines that matched were left out (at most 3 a minute); the last said: e10")
	r.append("e11\n")
	r.want("e11")
	r.now = r.now.Add(2 * time.Minute)
	r.want()
	if s := r.Stats(); s.Matched != 12 || s.Marked != 4 || s.Suppressed != 8 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	r.err = errors.New("no room")
	r.append("e12\n")
	r.want()
	if s := r.Stats(); s.Matched != s.Marked+s.Suppressed+s.Failed || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

func TestTimes(t *testing.T) {
	r := newRig(t, Rule{Pattern: `^(?P<time>\S+) e.*`, Text: "x"})
	r.want()
	r.append("2026-11-23T01:02:03.5Z e\nyesterday e\n0001-01-01T00:00:00Z e\n")
	r.poll()
	want := []int64{time.Date(2026, 11, 23, 1, 2, 3, 500_000_000, time.UTC).UnixNano(), r.now.UnixNano(), r.now.UnixNano()}
	var got []int64
	for _, m := range r.marks {
		got = append(got, m.Time)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRules(t *testing.T) {
	for want, rule := range map[string]Rule{
		"no file":                {Pattern: "x"},
		"no pattern":             {File: "f"},
		"missing closing":        {File: "f", Pattern: "("},
		"rate of -1":             {File: "f", Pattern: "x", Rate: -1},
		`the group "2"`:          {File: "f", Pattern: "(x)", Text: "$1 $2"},
		`the group "name"`:       {File: "f", Pattern: "(?P<nam>x)", Text: "${name}"},
		`the group "1x"`:         {File: "f", Pattern: "(x)", Text: "$1x"},
		"from 1 to 10000 marks":  {File: "f", Pattern: "x", Rate: 1 << 20},
		"invalid escape":         {File: "f", Pattern: `\y`},
		"bad perl operator: `(?": {File: "f", Pattern: `(?<`},
	} {
		err := rule.Check()
		if !errors.Is(err, ErrRule) {
			t.Errorf("%+v: %v", rule, err)
			continue
		}
		if !strings.Contains(err.Error(), want) && !strings.HasPrefix(want, "bad perl") {
			t.Errorf("%+v: %v, want %q", rule, err, want)
		}
	}
	ok := Rule{File: "f", Pattern: "(x)(?P<y>z)", Text: "$$3 ${1}a $y $2 $0"}
	if err := ok.Check(); err != nil {
		t.Error(err)
	}
	if _, err := New(Config{}); !errors.Is(err, ErrRule) {
		t.Errorf("without a taker: %v", err)
	}
}

// TestNoRegularFile names what would make a reader wait.
func TestNoRegularFile(t *testing.T) {
	r := newRig(t, Rule{Pattern: "x"})
	if err := os.Mkdir(r.path, 0o700); err != nil {
		t.Fatal(err)
	}
	r.want()
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.append("x\n")
	r.want("x")
}

// TestRun follows a file that is written and rotated all the time: each line
// becomes one mark, in order.
func TestRun(t *testing.T) {
	r := newRig(t, Rule{Pattern: `^n\d+$`, Rate: maxRate})
	r.append("")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	const n = 2000
	var want []string
	f, err := os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	r.awaken(f)
	for i := range n {
		line := fmt.Sprintf("n%d", i)
		want = append(want, line)
		if _, err := f.WriteString(line + "\n"); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 {
			// One that is renamed twice between two looks is lost to anybody.
			r.waitFor(i + 1)
			_ = f.Close()
			if err := os.Rename(r.path, fmt.Sprintf("%s.%d", r.path, i)); err != nil {
				t.Fatal(err)
			}
			if f, err = os.OpenFile(r.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.waitFor(n)
	_ = f.Close()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.texts()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// awaken writes lines that are no marks until one was read: the tailer has found
// the end of the file by then.
func (r *rig) awaken(f *os.File) {
	r.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); r.Stats().Lines == 0; time.Sleep(2 * time.Millisecond) {
		if _, err := f.WriteString("hello\n"); err != nil {
			r.t.Fatal(err)
		}
		if time.Now().After(deadline) {
			r.t.Fatal("no line was read")
		}
	}
}

// waitFor waits for so many marks.
func (r *rig) waitFor(n int) {
	r.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		if r.Stats().Marked >= uint64(n) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%+v, want %d marks", r.Stats(), n)
		}
	}
}

// FuzzLines cuts bytes into lines in pieces of any length: they are those of
// bytes.Split, as far as they are not too long.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\n\nc"), uint16(2))
	f.Add([]byte("\x00\xff\n"), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint16) {
		fl := &file{stats: new(counters)}
		var got [][]byte
		take := func(line []byte) { got = append(got, bytes.Clone(line)) }
		for rest := b; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			fl.split(rest[:n], take)
			fl.remember(rest[:n])
			rest = rest[n:]
		}
		fl.finish(take)
		want := bytes.Split(b, []byte{'\n'})
		if len(want[len(want)-1]) == 0 {
			want = want[:len(want)-1]
		}
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i := range want {
			w := bytes.TrimSuffix(want[i], []byte{'\r'})
			if len(want[i]) > maxLine {
				w = bytes.TrimSuffix(want[i][:maxLine], []byte{'\r'})
			}
			if !bytes.Equal(got[i], w) {
				t.Fatalf("line %d is %q, want %q", i, got[i], w)
			}
		}
		if n := min(len(b), fingerprint); !bytes.Equal(fl.tailBytes, b[len(b)-n:]) {
			t.Fatalf("remembers %q", fl.tailBytes)
		}
	})
}
