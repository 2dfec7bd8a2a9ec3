package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/disk"
)

// serveFlags are the flags of serve. Those in overrides stand for keys of the
// configuration, and win over the file.
type serveFlags struct {
	config             string
	printConfig, check bool
	overrides          []serveOverride
	// taps and localNets are --tap and --local-net.
	taps, localNets []string
}

// serveOverride is a flag that was given, as the key that it stands for.
type serveOverride struct{ flag, key, value string }

// serveFlagKeys are the flags that stand for keys.
var serveFlagKeys = []struct{ flag, key, usage string }{
	{"listen", "listen", "address and port of the web UI and the API"},
	{"data", "data", "directory of history, packets and token (default /var/lib/viewtcp for root, else ~/.local/state/viewtcp; VIEWTCP_DATA)"},
	{"source", "collect.source", "where to look: auto, ebpf, netlink or procfs"},
	{"netns", "collect.netns", "network namespaces: all, self or the path of one (/run/netns/NAME, /proc/PID/ns/net)"},
	{"collector", "collect.collector", "ask the collector at this Unix socket instead of looking oneself"},
	{"packets", "packets.enabled", "record the headers of packets: true or false"},
	{"log-format", "log.format", "messages as text or json"},
	{"log-level", "log.level", "the least that is told: debug, info, warn or error"},
}

func newServe(e env) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Watch all the time: collect, keep history, record packets, answer over HTTP",
		Long: `Watch all the time: follow every connection, keep history of it for 90 days,
record the headers of packets for viewtcp export, and answer the other commands,
browsers and scripts over HTTP on 127.0.0.1:9293. It needs no configuration file;
--print-config prints one with every key and its default.

SIGTERM and Ctrl-C end it within 5 s with all that was seen on disk, a second one
at once. SIGHUP reads the configuration again.`,
		Example: `  sudo viewtcp serve
  viewtcp serve --data ~/viewtcp --listen 127.0.0.1:9300
  viewtcp serve --print-config > viewtcp.yaml
  viewtcp serve --config viewtcp.yaml --check-config`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.overrides = nil
			cmd.Flags().Visit(func(given *pflag.Flag) {
				for _, k := range serveFlagKeys {
					if k.flag == given.Name {
						f.overrides = append(f.overrides, serveOverride{k.flag, k.key, given.Value.String()})
					}
				}
			})
			return serveCommand(cmd.Context(), e, &f)
		},
	}
	fs := cmd.Flags()
	def := defaultServeConfig()
	for _, k := range serveFlagKeys {
		value := ""
		for _, key := range serveKeys() {
			if key.name == k.key {
				value = plain(key.get(&def))
			}
		}
		fs.String(k.flag, value, k.usage)
	}
	fs.StringArrayVar(&f.taps, "tap", nil, "make connections of the packets that arrive at this SPAN port or tap, apart from the host's own (repeatable)")
	fs.StringArrayVar(&f.localNets, "local-net", nil, "with --tap: addresses of this network are the local end (repeatable)")
	fs.StringVar(&f.config, "config", "", "configuration file (YAML)")
	fs.BoolVar(&f.printConfig, "print-config", false, "print the configuration, every key with its meaning, and end")
	fs.BoolVar(&f.check, "check-config", false, "check the configuration and end")
	return cmd
}

// plain takes the quotes off a value that needs none.
func plain(s string) string {
	if n := len(s); n >= 2 && s[0] == '"' && s[n-1] == '"' {
		return s[1 : n-1]
	}
	return s
}

// serveSections are the sections of the configuration that are decoded by those
// who own them.
func serveSections() []serveSection { return []serveSection{tailSection(), tapSection()} }

// load reads the configuration anew.
func (f *serveFlags) load() (serveConfig, error) {
	c, err := loadServeConfig(f.config, serveSections())
	if err != nil {
		return c, err
	}
	keys := serveKeys()
	for _, o := range f.overrides {
		for i := range keys {
			if keys[i].name != o.key {
				continue
			}
			if err := keys[i].set(&c, o.value); err != nil {
				return c, usagef("--%s %s: %w", o.flag, o.value, err)
			}
		}
	}
	if _, err := f.tapsWith(&c); err != nil {
		return c, err
	}
	if _, err := c.packets.captureFlags(""); err != nil {
		return c, usagef("packets: %w", err)
	}
	return c, nil
}

func serveCommand(ctx context.Context, e env, f *serveFlags) error {
	cfg, err := f.load()
	if err != nil {
		return err
	}
	switch {
	case f.printConfig:
		_, err := e.stdout.Write(appendServeConfig(nil, &cfg, serveSections()))
		return err
	case f.check:
		if f.config != "" {
			e.warn(f.config + " is right")
		}
		return nil
	}
	dir, err := dataDir(cfg.data)
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	collectMore()
	return newDaemon(e, f, cfg, dir).run(ctx)
}

// withRemedy says how to go on where only rights or space are missing.
func withRemedy(err error, dir string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: give a directory that may be written to with --data DIR, or run as root", err)
	case disk.IsFull(err):
		return fmt.Errorf("%w: make room on the file system of %q, or give another with --data DIR", err, dir)
	}
	return err
}

// changedKeys are the keys in which two configurations differ.
func changedKeys(was, is *serveConfig) (changed []serveKey) {
	for _, k := range serveKeys() {
		if k.get(was) != k.get(is) {
			changed = append(changed, k)
		}
	}
	return changed
}
