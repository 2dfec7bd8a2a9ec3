package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tail"
)

// tailSection is the section of the configuration that says which log files make
// marks.
func tailSection() serveSection {
	return serveSection{
		name: "tail",
		doc: `# Log files whose lines become marks on the timeline, beside the connections of that
# time. (reload)
tail:
# - file: /var/log/nginx/error.log
#   pattern: '\[(?P<level>error|crit)\] .*: (?P<what>.*)'  # RE2; a group named time is read as RFC 3339
#   text: '${level}: ${what}'  # empty is what the pattern matched
#   from: nginx                # empty is the name of the file
#   rate: 60                   # marks a minute; how many were left out is told
`,
		check: func(path string, node *yaml.Node) error {
			_, err := tailRules(path, node)
			return err
		},
	}
}

// tailKeys are the keys of a rule.
var tailKeys = []string{"file", "pattern", "text", "from", "rate"}

// noJournal is what a rule for the journal is told.
const noJournal = "the journal keeps its entries in a format of its own: have it write a file, as with ForwardToSyslog=yes of journald.conf and rsyslog, and name that with file:"

// tailRules reads the section; what is wrong is told by file and line.
func tailRules(path string, node *yaml.Node) ([]tail.Rule, error) {
	items, wrong, err := configList(path, "tail", "files", node)
	if err != nil {
		return nil, err
	}
	var rules []tail.Rule
	for _, item := range items {
		if item.Kind != yaml.MappingNode {
			return nil, wrong(item, "each entry wants the keys file and pattern")
		}
		var r tail.Rule
		for i := 0; i+1 < len(item.Content); i += 2 {
			key, value := item.Content[i], item.Content[i+1]
			if value.Kind != yaml.ScalarNode {
				return nil, wrong(value, "%s wants one value", key.Value)
			}
			switch key.Value {
			case "file":
				r.File = value.Value
			case "pattern":
				r.Pattern = value.Value
			case "text":
				r.Text = value.Value
			case "from":
				r.From = value.Value
			case "rate":
				n, err := strconv.Atoi(value.Value)
				if err != nil || n < 1 {
					return nil, wrong(value, "rate %s: it is a number of marks a minute, from 1 on", value.Value)
				}
				r.Rate = n
			case "journal":
				return nil, wrong(key, "%s", noJournal)
			default:
				hint := ""
				if s := filter.Nearest(key.Value, tailKeys); s != "" {
					hint = fmt.Sprintf(": did you mean %q?", s)
				}
				return nil, wrong(key, "unknown key %q%s", key.Value, hint)
			}
		}
		if err := r.Check(); err != nil {
			return nil, wrong(item, "%w", err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// tailing follows log files while serve runs.
type tailing struct {
	log  *slog.Logger
	mark func(context.Context, store.Mark) error

	mu      sync.Mutex
	stop    context.CancelFunc // guarded by mu
	running sync.WaitGroup
	tailer  *tail.Tailer // guarded by mu; nil while nothing is followed
	// before is what tailers that have ended counted.
	before tail.Stats // guarded by mu
}

// start follows the files of a configuration until ctx ends or end is called.
func (t *tailing) start(ctx context.Context, c *serveConfig) {
	rules, err := tailRules(c.path, c.others["tail"])
	if err != nil || len(rules) == 0 {
		return // it was checked when it was read
	}
	tailer, err := tail.New(tail.Config{Rules: rules, Host: hostname(), Mark: t.mark, Log: t.log})
	if err != nil {
		t.log.Error("log files are not followed", "err", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	t.mu.Lock()
	t.stop, t.tailer = cancel, tailer
	t.mu.Unlock()
	t.running.Go(func() {
		if err := tailer.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.log.Error("log files are not followed any more", "err", err)
		}
	})
	t.log.Info("log files become marks", "rules", len(rules))
}

// end stops following and waits until what was read is kept.
func (t *tailing) end() {
	t.mu.Lock()
	stop := t.stop
	t.stop = nil
	t.mu.Unlock()
	if stop != nil {
		stop()
	}
	t.running.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tailer != nil {
		t.before, t.tailer = addTails(t.before, t.tailer.Stats()), nil
	}
}

// reload follows what a new configuration says.
func (t *tailing) reload(ctx context.Context) func(was, is *serveConfig) {
	return func(_, is *serveConfig) {
		t.end()
		t.start(ctx, is)
	}
}
