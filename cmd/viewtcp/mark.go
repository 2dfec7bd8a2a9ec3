package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/moment"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
)

// maxMark and maxFrom bound a mark, bytes, as the daemon does.
const (
	maxMark = 4 << 10
	maxFrom = 256
)

// markFlags are the flags of mark.
type markFlags struct {
	daemonFlags
	at, from string
}

func newMark(e env) *cobra.Command {
	var m markFlags
	cmd := &cobra.Command{
		Use:   "mark TEXT",
		Short: "Put a note on the timeline: a deploy, a restart",
		Long: `Puts a note on the timeline, which history --events shows beside the connections of
that time: a deploy, a restart, the begin of a test. It goes to viewtcp serve, or
into its data directory while it does not run.`,
		Example: `  viewtcp mark deploy of shop 2.4.1
  viewtcp mark 'failover to db-2' --at 14:05 --from alice`,
		Args: func(_ *cobra.Command, args []string) error {
			if strings.TrimSpace(strings.Join(args, " ")) == "" {
				return usagef("mark: what shall it say? As in: viewtcp mark deploy of shop 2.4.1")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return mark(cmd.Context(), e, &m, strings.TrimSpace(strings.Join(args, " ")))
		},
	}
	fs := cmd.Flags()
	m.add(fs)
	fs.StringVar(&m.at, "at", "", `when it was: 10m (ago), 14:05, "yesterday 14:00", RFC 3339 (default now)`)
	fs.StringVar(&m.from, "from", "", "who or what says so (default the user)")
	return cmd
}

func mark(ctx context.Context, e env, m *markFlags, text string) error {
	switch {
	case len(text) > maxMark || len(m.from) > maxFrom:
		return usagef("mark: a text has %d bytes at most, --from %d", maxMark, maxFrom)
	case !utf8.ValidString(text) || !utf8.ValidString(m.from):
		return usagef("mark: the text is not UTF-8")
	}
	now := time.Now()
	note := store.Mark{Time: now.UnixNano(), Text: text, From: m.from}
	if m.at != "" {
		at, err := moment.At(m.at, now)
		if err != nil {
			return usagef("--at: %w", err)
		}
		note.Time = at.UnixNano()
	}
	if note.From == "" {
		note.From = userName()
	}
	where, err := m.keep(ctx, note)
	if err != nil {
		return fmt.Errorf("mark: %w", err)
	}
	fmt.Fprintf(e.stderr, "viewtcp: marked %s in %s\n", time.Unix(0, note.Time).Format(time.DateTime), output.Clean(where))
	return nil
}

// keep hands a mark to the daemon, or to the store if there is none, and says
// where it is.
func (m *markFlags) keep(ctx context.Context, note store.Mark) (where string, err error) {
	c, err := findDaemon(ctx, &m.daemonFlags)
	if err != nil {
		return "", err
	}
	if c != nil {
		defer c.Close()
		return c.URL(), c.Mark(ctx, note)
	}
	dir, err := dataDir(m.data())
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, storeDir)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no daemon and no history in %s: start viewtcp serve, or name another with --server URL or --data DIR", dir)
	}
	note.Host = hostname()
	cfg := parquet.DefaultConfig()
	cfg.Dir, cfg.Retention = path, nil // it keeps a note, and removes nothing
	engine, err := parquet.Open(cfg)
	if errors.Is(err, store.ErrLocked) {
		return "", fmt.Errorf("a daemon writes the history in %s and does not answer: %w", dir, err)
	}
	if err != nil {
		return "", err
	}
	err = engine.Append(ctx, &store.Batch{Events: []store.Event{note.Event()}})
	return dir, errors.Join(err, engine.Close())
}

// userName is who runs the program, as far as the environment says.
func userName() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME", "USERNAME"} {
		if s := os.Getenv(name); s != "" && utf8.ValidString(s) && len(s) < 256 {
			return s
		}
	}
	return ""
}
