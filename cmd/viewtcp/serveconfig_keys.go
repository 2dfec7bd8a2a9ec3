package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/bits"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
)

// serveKey is one key of the configuration of serve: a section and a name, joined
// by a dot. The list of them is what the file is read by, checked by and
// documented by.
type serveKey struct {
	name, doc string
	// set reads a value; setList does so for keys that take several.
	set     func(c *serveConfig, text string) error
	setList func(c *serveConfig, list []string) error
	// get is the value as YAML, for --print-config and to see what changed.
	get func(c *serveConfig) string
	// reload says that a change counts from the next SIGHUP on; else it waits for
	// a restart.
	reload bool
}

// serveKeys lists all keys, in the order of --print-config.
func serveKeys() []serveKey {
	keys := []serveKey{
		textKey("listen", "Address and port of the web UI and the API. A port of 0 takes a free one.",
			func(c *serveConfig) *string { return &c.listen }, checkListen),
		textKey("data", "Directory of history, recorded packets and the token. Empty is /var/lib/viewtcp for\nroot, else $XDG_STATE_HOME/viewtcp (~/.local/state/viewtcp); VIEWTCP_DATA sets it too.",
			func(c *serveConfig) *string { return &c.data }, anyText),
		listKey("hosts", "Names by which browsers may call the server, besides localhost and its address.",
			func(c *serveConfig) *[]string { return &c.hosts }),
		textKey("tls.cert", "Certificate of the server with those between it and its authority, a PEM file. With it and\nits key, listen may be an address that other machines reach; both are read again when they change.",
			func(c *serveConfig) *string { return &c.tls.cert }, anyText),
		textKey("tls.key", "Key of the certificate, a PEM file that not everybody may read.",
			func(c *serveConfig) *string { return &c.tls.key }, anyText),
		textKey("collect.source", "Where connections come from: auto takes the best of ebpf, netlink and procfs.",
			func(c *serveConfig) *string { return &c.collect.source }, oneOf(append([]string{"auto"}, sourceNames...)...)),
		textKey("collect.netns", "Network namespaces: all, self or the path of one (/run/netns/NAME, /proc/PID/ns/net).",
			func(c *serveConfig) *string { return &c.collect.netns }, notEmpty),
		textKey("collect.collector", "Ask the collector at this Unix socket, which has the rights, instead of looking oneself.",
			func(c *serveConfig) *string { return &c.collect.collector }, anyText),
		durationKey("collect.interval", "Time between two looks at all connections; 0 is what suits the source. Openings and\ncloses come as they happen, where the source is told of them.",
			func(c *serveConfig) *time.Duration { return &c.collect.interval }, 0, 100*time.Millisecond, time.Minute),
		boolKey("names.services", "Name connections after their services.", func(c *serveConfig) *bool { return &c.names.services }),
		boolKey("store.enabled", "Keep history.", func(c *serveConfig) *bool { return &c.store.enabled }),
		durationKey("store.seal_age", "Rows older than this are moved from the log into Parquet segments.",
			func(c *serveConfig) *time.Duration { return &c.store.sealAge }, time.Minute, time.Minute, 24*time.Hour),
	}
	for _, t := range store.Tables() {
		keys = append(keys, retentionKeys(t)...)
	}
	keys = append(keys, boundKeys("damaged", "what was set aside because it was damaged",
		func(c *serveConfig) parquet.Retention { return c.store.damaged },
		func(c *serveConfig, r parquet.Retention) { c.store.damaged = r })...)
	return append(keys,
		reloaded(boolKey("packets.enabled", "Record the headers of packets, for viewtcp export of connections closed long ago.",
			func(c *serveConfig) *bool { return &c.packets.enabled })),
		reloaded(listKey("packets.interfaces", "Interfaces to record from; empty is any.",
			func(c *serveConfig) *[]string { return &c.packets.interfaces })),
		reloaded(textKey("packets.netns", "Network namespaces to record in: self, all (a packet between two is recorded in both)\nor the path of one.",
			func(c *serveConfig) *string { return &c.packets.netns }, notEmpty)),
		reloaded(numberKey("packets.snaplen", "Keep so many bytes of each packet. 0 is up to the end of its TCP header: no payload.",
			func(c *serveConfig) *uint64 { return &c.packets.snaplen }, 0, 262144)),
		reloaded(sizeKey("packets.max_bytes", "Keep so much and remove the oldest.",
			func(c *serveConfig) *uint64 { return &c.packets.maxBytes }, 256<<10, 1<<50)),
		reloaded(durationKey("packets.max_age", "Keep packets for so long.",
			func(c *serveConfig) *time.Duration { return &c.packets.maxAge }, time.Second, time.Second, 10*366*24*time.Hour)),
		reloaded(textKey("packets.cutoff", "Of each direction of a connection keep so many packets (1000), or bytes (1MiB), and beyond\nthat only SYN, FIN, RST and what is sent again. Empty is everything.",
			func(c *serveConfig) *string { return &c.packets.cutoff }, checkCutoff)),
		reloaded(numberKey("packets.sample", "Record one in so many connections, all of its packets.",
			func(c *serveConfig) *uint64 { return &c.packets.sample }, 1, 1<<31)),
		reloaded(sizeKey("packets.ring", "Memory between the kernel and the recorder. Drops are counted and told.",
			func(c *serveConfig) *uint64 { return &c.packets.ring }, 256<<10, 1<<30)),
		textKey("log.format", "Messages on stderr: text or json.",
			func(c *serveConfig) *string { return &c.log.format }, oneOf("text", "json")),
		serveKey{
			name: "log.level", doc: "The least that is told: debug, info, warn or error.", reload: true,
			set: func(c *serveConfig, s string) error {
				if !slices.Contains([]string{"debug", "info", "warn", "error"}, s) {
					return errors.New("it is debug, info, warn or error")
				}
				return c.log.level.UnmarshalText([]byte(s))
			},
			get: func(c *serveConfig) string { return strings.ToLower(c.log.level.String()) },
		},
	)
}

func reloaded(k serveKey) serveKey {
	k.reload = true
	return k
}

// retentionKeys are the bounds of one table of history.
func retentionKeys(t store.Table) []serveKey {
	return boundKeys(t.String(), strings.ReplaceAll(t.String(), "_", " "),
		func(c *serveConfig) parquet.Retention { return c.store.retention[t] },
		func(c *serveConfig, r parquet.Retention) {
			// The map may be that of another configuration.
			m := make(map[store.Table]parquet.Retention, len(c.store.retention))
			maps.Copy(m, c.store.retention)
			m[t] = r
			c.store.retention = m
		})
}

// boundKeys are an age and a size that something is kept up to.
func boundKeys(name, what string, get func(*serveConfig) parquet.Retention, set func(*serveConfig, parquet.Retention)) []serveKey {
	return []serveKey{
		{
			name: "store." + name + "_max_age", doc: "Keep " + what + " for so long; 0 is without bound.",
			set: func(c *serveConfig, s string) error {
				d, err := parseSpan(s)
				if err == nil && d != 0 && d < time.Hour {
					err = errors.New("it is an hour at least, or 0")
				}
				r := get(c)
				r.Age = d
				set(c, r)
				return err
			},
			get: func(c *serveConfig) string { return formatSpan(get(c).Age) },
		},
		{
			name: "store." + name + "_max_bytes", doc: "Keep so much of them and remove the oldest; 0 is without bound.",
			set: func(c *serveConfig, s string) error {
				n, err := filter.ParseSize(s)
				if err == nil && n != 0 && (n < 1<<20 || n > 1<<60) {
					err = errors.New("it is 1MiB at least, or 0")
				}
				r := get(c)
				r.Bytes = int64(n)
				set(c, r)
				return err
			},
			get: func(c *serveConfig) string { return formatSize(uint64(get(c).Bytes)) },
		},
	}
}

func textKey(name, doc string, at func(*serveConfig) *string, check func(string) error) serveKey {
	return serveKey{
		name: name, doc: doc,
		set: func(c *serveConfig, s string) error {
			*at(c) = s
			return check(s)
		},
		get: func(c *serveConfig) string { return strconv.Quote(*at(c)) },
	}
}

func listKey(name, doc string, at func(*serveConfig) *[]string) serveKey {
	return serveKey{
		name: name, doc: doc,
		setList: func(c *serveConfig, list []string) error {
			if slices.Contains(list, "") {
				return errors.New("an empty name")
			}
			*at(c) = list
			return nil
		},
		get: func(c *serveConfig) string {
			var quoted []string
			for _, s := range *at(c) {
				quoted = append(quoted, strconv.Quote(s))
			}
			return "[" + strings.Join(quoted, ", ") + "]"
		},
	}
}

func boolKey(name, doc string, at func(*serveConfig) *bool) serveKey {
	return serveKey{
		name: name, doc: doc,
		set: func(c *serveConfig, s string) error {
			switch s {
			case "true":
				*at(c) = true
			case "false":
				*at(c) = false
			default:
				return errors.New("it is true or false")
			}
			return nil
		},
		get: func(c *serveConfig) string { return strconv.FormatBool(*at(c)) },
	}
}

func numberKey(name, doc string, at func(*serveConfig) *uint64, least, most uint64) serveKey {
	return serveKey{
		name: name, doc: doc,
		set: func(c *serveConfig, s string) error {
			n, err := strconv.ParseUint(s, 10, 64)
			if err != nil || n < least || n > most {
				return fmt.Errorf("it is a number from %d to %d", least, most)
			}
			*at(c) = n
			return nil
		},
		get: func(c *serveConfig) string { return strconv.FormatUint(*at(c), 10) },
	}
}

func sizeKey(name, doc string, at func(*serveConfig) *uint64, least, most uint64) serveKey {
	return serveKey{
		name: name, doc: doc,
		set: func(c *serveConfig, s string) error {
			n, err := filter.ParseSize(s)
			if err != nil || n < least || n > most {
				return fmt.Errorf("it is a size from %s to %s, as in 64MiB", formatSize(least), formatSize(most))
			}
			*at(c) = n
			return nil
		},
		get: func(c *serveConfig) string { return formatSize(*at(c)) },
	}
}

// durationKey takes durations between two bounds, and 0 if zero is.
func durationKey(name, doc string, at func(*serveConfig) *time.Duration, zero, least, most time.Duration) serveKey {
	return serveKey{
		name: name, doc: doc,
		set: func(c *serveConfig, s string) error {
			d, err := parseSpan(s)
			if err != nil {
				return err
			}
			if (d != 0 || zero != 0) && (d < least || d > most) {
				return fmt.Errorf("it is between %s and %s", formatSpan(least), formatSpan(most))
			}
			*at(c) = d
			return nil
		},
		get: func(c *serveConfig) string { return formatSpan(*at(c)) },
	}
}

const oneDay = 24 * time.Hour

// parseSpan reads a duration, in days too: 90d.
func parseSpan(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * oneDay, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, errors.New("it is a time as in 90d, 12h or 30s")
	}
	return d, nil
}

func formatSpan(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d%oneDay == 0:
		return strconv.FormatInt(int64(d/oneDay), 10) + "d"
	}
	s := d.String()
	if rest, ok := strings.CutSuffix(s, "m0s"); ok {
		s = rest + "m"
	}
	if rest, ok := strings.CutSuffix(s, "h0m"); ok {
		s = rest + "h"
	}
	return s
}

// formatSize writes a size so that ParseSize reads the same, in the largest unit
// that takes it whole.
func formatSize(n uint64) string {
	for _, u := range []struct {
		name string
		size uint64
	}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatUint(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatUint(n, 10)
}

func anyText(string) error { return nil }

func notEmpty(s string) error {
	if s == "" {
		return errors.New("it cannot be empty")
	}
	return nil
}

func oneOf(list ...string) func(string) error {
	return func(s string) error {
		if slices.Contains(list, s) {
			return nil
		}
		hint := ""
		if n := filter.Nearest(s, list); n != "" {
			hint = fmt.Sprintf(" (did you mean %s?)", n)
		}
		last := len(list) - 1
		return fmt.Errorf("it is %s or %s%s", strings.Join(list[:last], ", "), list[last], hint)
	}
}

// checkListen refuses what is no address with a port.
func checkListen(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("it is an address and a port, as in 127.0.0.1:9293 or [::1]:9293")
	}
	return nil
}

func checkCutoff(s string) error {
	_, err := parseCutoff(s)
	return err
}

// ringSize is the power of two that holds a ring.
func ringSize(n uint64) int { return 1 << (bits.Len64(n) - 1) }

// levelOf makes the level of messages changeable.
func levelOf(c *serveConfig) *slog.LevelVar {
	v := new(slog.LevelVar)
	v.Set(c.log.level)
	return v
}

// appendServeConfig appends a configuration as a file that says all of it.
func appendServeConfig(b []byte, c *serveConfig, sections []serveSection) []byte {
	b = append(b, "# How viewtcp serve works. Every key is here with its default; what is left out of a\n"+
		"# file has it too. A change of a key marked (reload) counts after SIGHUP, of the others\n"+
		"# after a restart.\n"...)
	section := ""
	for _, k := range serveKeys() {
		name, indent := k.name, ""
		if s, rest, ok := strings.Cut(k.name, "."); ok {
			if s != section {
				b = append(b, "\n"+s+":\n"...)
				section = s
			}
			name, indent = rest, "  "
		} else {
			b = append(b, '\n')
		}
		doc := k.doc
		if k.reload {
			doc += " (reload)"
		}
		for line := range strings.SplitSeq(doc, "\n") {
			b = append(b, indent+"# "+line+"\n"...)
		}
		b = append(b, indent+name+": "+k.get(c)+"\n"...)
	}
	for _, s := range sections {
		b = append(b, "\n"+strings.TrimSuffix(s.doc, "\n")+"\n"...)
	}
	return b
}
