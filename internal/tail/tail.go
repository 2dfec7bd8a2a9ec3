package tail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
)

// Rule says which lines of which file become marks.
type Rule struct {
	// File is the path of the file. It need not be there yet; when it is replaced
	// the new one is read.
	File string
	// Pattern is a regular expression in RE2's syntax. A group named time that
	// holds a time of RFC 3339 is when it happened; else that is when it was read.
	Pattern string
	// Text is what the mark says; $1 and ${name} stand for groups of the pattern.
	// Empty is what the pattern matched.
	Text string
	// From names the program; empty is the name of the file.
	From string
	// Rate is how many marks a minute the rule may make; 0 is DefaultRate. How
	// many were left out is told in a mark of its own.
	Rate int
}

// DefaultRate is the marks a minute of a rule that does not say.
const DefaultRate = 60

// Config is what to follow and where marks go.
type Config struct {
	Rules []Rule
	// Host is the name that marks carry.
	Host string
	// Mark keeps a mark. An error is counted and told once a minute; the mark is
	// lost.
	Mark func(context.Context, store.Mark) error
	// Every is the time between two looks at a file; 0 is DefaultEvery.
	Every time.Duration
	// Begin reads files from their beginning; else what was there before Run is
	// not looked at.
	Begin bool
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Log hears of trouble; nil is nobody.
	Log *slog.Logger
}

// DefaultEvery is the time between two looks.
const DefaultEvery = 250 * time.Millisecond

// Bounds of what is kept of a line, bytes, and of a mark.
const (
	maxLine = 16 << 10
	maxText = 1 << 10
	maxRate = 10_000
)

// ErrRule says that a rule cannot be used.
var ErrRule = errors.New("rule for tailing")

// Stats counts what became of lines. Matched = Marked + Suppressed + Failed.
type Stats struct {
	Lines, Matched, Marked, Suppressed, Failed uint64
	// Long is lines of which only the beginning was looked at, Rotations files
	// that were replaced, Truncations files that were cut.
	Long, Rotations, Truncations uint64
}

// A Tailer follows the files of its rules.
type Tailer struct {
	cfg   Config
	files []*file
	stats counters
}

type counters struct {
	lines, matched, marked, suppressed, failed, long, rotations, truncations atomic.Uint64
}

// New checks the rules. It opens nothing; errors wrap ErrRule.
func New(cfg Config) (*Tailer, error) {
	if cfg.Mark == nil {
		return nil, fmt.Errorf("%w: nobody takes marks", ErrRule)
	}
	if cfg.Every <= 0 {
		cfg.Every = DefaultEvery
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Tailer{cfg: cfg}
	for i := range cfg.Rules {
		if err := t.add(&cfg.Rules[i]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Check says what is wrong with a rule; its error wraps ErrRule.
func (r *Rule) Check() error {
	_, err := compile(r)
	return err
}

func compile(r *Rule) (*matcher, error) {
	if r.File == "" {
		return nil, fmt.Errorf("%w: there is no file", ErrRule)
	}
	if r.Pattern == "" {
		return nil, fmt.Errorf("%w of %q: there is no pattern", ErrRule, r.File)
	}
	re, err := regexp.Compile(r.Pattern)
	if err != nil {
		return nil, fmt.Errorf("%w of %q: %w", ErrRule, r.File, err)
	}
	if r.Rate < 0 || r.Rate > maxRate {
		return nil, fmt.Errorf("%w of %q: a rate of %d; it is from 1 to %d marks a minute", ErrRule, r.File, r.Rate, maxRate)
	}
	m := &matcher{re: re, text: r.Text, from: r.From, rate: r.Rate, timeGroup: re.SubexpIndex("time"), path: r.File}
	for _, g := range groupName.FindAllStringSubmatch(strings.ReplaceAll(r.Text, "$$", ""), -1) {
		name := g[1] + g[2]
		if n, isNumber := groupNumber(name); isNumber && n <= re.NumSubexp() || re.SubexpIndex(name) >= 0 {
			continue
		}
		return nil, fmt.Errorf("%w of %q: the text names the group %q, which the pattern does not have", ErrRule, r.File, name)
	}
	if m.rate == 0 {
		m.rate = DefaultRate
	}
	if m.from == "" {
		m.from = filepath.Base(r.File)
	}
	return m, nil
}

// groupName finds what regexp.Expand takes for the name of a group.
var groupName = regexp.MustCompile(`\$(?:([0-9A-Za-z_]+)|\{([0-9A-Za-z_]+)\})`)

// groupNumber reads the number of a group.
func groupNumber(s string) (n int, ok bool) {
	for _, c := range s {
		if c < '0' || c > '9' || n > 1000 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, s != ""
}

func (t *Tailer) add(r *Rule) error {
	m, err := compile(r)
	if err != nil {
		return err
	}
	path := filepath.Clean(r.File)
	for _, f := range t.files {
		if f.path == path {
			f.rules = append(f.rules, m)
			return nil
		}
	}
	t.files = append(t.files, &file{path: path, rules: []*matcher{m}, stats: &t.stats, log: t.cfg.Log, fromStart: t.cfg.Begin})
	return nil
}

// Stats returns the counts so far.
func (t *Tailer) Stats() Stats {
	c := &t.stats
	return Stats{
		Lines: c.lines.Load(), Matched: c.matched.Load(), Marked: c.marked.Load(), Suppressed: c.suppressed.Load(),
		Failed: c.failed.Load(), Long: c.long.Load(), Rotations: c.rotations.Load(), Truncations: c.truncations.Load(),
	}
}

// Run follows the files until ctx ends, and returns nil then. It must be called
// once.
func (t *Tailer) Run(ctx context.Context) error {
	defer func() {
		for _, f := range t.files {
			f.close()
		}
	}()
	t.look(ctx)
	ticker := time.NewTicker(t.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			// What was left out until now is told even so.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for _, f := range t.files {
				for _, m := range f.rules {
					t.tell(last, m, t.cfg.Now())
				}
			}
			return nil
		case <-ticker.C:
			t.look(ctx)
		}
	}
}

// look reads what is new in all files.
func (t *Tailer) look(ctx context.Context) {
	for _, f := range t.files {
		f.poll(func(line []byte) {
			for _, m := range f.rules {
				t.match(ctx, m, line)
			}
		})
		now := t.cfg.Now()
		for _, m := range f.rules {
			if now.Sub(m.window) >= time.Minute {
				t.tell(ctx, m, now)
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// A matcher is a rule at work.
type matcher struct {
	re         *regexp.Regexp
	text, from string
	path       string
	rate       int
	timeGroup  int
	// window is the minute that made so many marks and left out others, the last
	// one of which said example.
	window     time.Time
	made       int
	suppressed uint64
	example    string
	complained time.Time
}

// match makes a mark of a line if it matches.
func (t *Tailer) match(ctx context.Context, m *matcher, line []byte) {
	at := m.re.FindSubmatchIndex(line)
	if at == nil {
		return
	}
	t.stats.matched.Add(1)
	now := t.cfg.Now()
	if d := now.Sub(m.window); d >= time.Minute || d < 0 {
		t.tell(ctx, m, now)
	}
	text := line[at[0]:at[1]]
	if m.text != "" {
		text = m.re.Expand(nil, []byte(m.text), line, at)
	}
	if m.made >= m.rate {
		t.stats.suppressed.Add(1)
		m.suppressed++
		m.example = clip(text)
		return
	}
	m.made++
	when := now
	if g := m.timeGroup; g >= 0 && at[2*g] >= 0 {
		if p, err := time.Parse(time.RFC3339Nano, string(line[at[2*g]:at[2*g+1]])); err == nil && p.Year() >= 1970 && p.Year() < 2200 {
			when = p
		}
	}
	t.send(ctx, m, store.Mark{Time: when.UnixNano(), Host: t.cfg.Host, Text: clip(text), From: m.from}, &t.stats.marked)
}

// send hands a mark on and counts what became of it.
func (t *Tailer) send(ctx context.Context, m *matcher, mark store.Mark, done *atomic.Uint64) {
	err := t.cfg.Mark(ctx, mark)
	if err == nil {
		if done != nil {
			done.Add(1)
		}
		return
	}
	if done != nil {
		t.stats.failed.Add(1)
	}
	if now := t.cfg.Now(); now.Sub(m.complained) >= time.Minute {
		m.complained = now
		t.cfg.Log.Warn("mark of a log file is lost", "file", m.path, "err", err)
	}
}

// tell ends a minute: a mark says how many lines were left out of it.
func (t *Tailer) tell(ctx context.Context, m *matcher, now time.Time) {
	if n := m.suppressed; n > 0 {
		lines := "lines that matched were"
		if n == 1 {
			lines = "line that matched was"
		}
		t.send(ctx, m, store.Mark{
			Time: now.UnixNano(), Host: t.cfg.Host, From: m.from,
			Text: fmt.Sprintf("%d more %s left out (at most %d a minute); the last said: %s", n, lines, m.rate, m.example),
		}, nil)
	}
	m.window, m.made, m.suppressed, m.example = now, 0, 0, ""
}

// clip makes a text of whatever a line held: valid UTF-8 of bounded length.
func clip(b []byte) string {
	s := strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "\uFFFD")
	return strings.TrimSpace(s)
}
