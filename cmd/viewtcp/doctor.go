package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/procfs"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

func newDoctor(e env) *cobra.Command {
	var c common
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this host can show, what not, and how to get it",
		Long: `Say what this host can show, what not, and how to get it. Each feature is tried,
not guessed from a version.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.setup(cmd); err != nil {
				return err
			}
			return doctor(cmd.Context(), e, &c)
		},
	}
	c.addSource(cmd.Flags())
	cmd.Flags().StringVarP(&c.format, "output", "o", formatTable, "table, json or jsonl")
	cmd.Flags().StringVar(&c.color, "color", "auto", "auto, always or never; NO_COLOR means never")
	return cmd
}

func doctor(ctx context.Context, e env, c *common) error {
	fs, err := examine(ctx, c)
	if err != nil {
		return err
	}
	switch c.format {
	case formatJSON:
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(fs)
	case formatJSONL:
		enc := json.NewEncoder(e.stdout)
		for _, f := range fs {
			if err := enc.Encode(f); err != nil {
				return err
			}
		}
		return nil
	case formatTable:
		_, err := e.stdout.Write(appendFeatures(nil, fs, c.useColor(e.stdout), width(e.stdout)))
		return err
	default:
		return usagef("-o %s: doctor prints table, json or jsonl", c.format)
	}
}

// examine tries every source and lists what it found, the sources themselves
// first.
func examine(ctx context.Context, c *common) ([]tcp.Feature, error) {
	if c.collector != "" {
		client, err := dialCollector(ctx, c.collector, c.source, c.netns)
		if err != nil {
			return nil, err
		}
		return client.Features(), nil
	}
	var sources, details []tcp.Feature
	pick := c.choice()
	for _, name := range pick.candidates() {
		src, err := pick.open(name)
		if err != nil {
			sources = append(sources, missing(name, err))
			continue
		}
		sources = append(sources, tcp.Feature{Name: name, Available: true})
		details = append(details, src.Features()...)
		if err := src.Close(); err != nil {
			return nil, fmt.Errorf("closing source %s: %w", name, err)
		}
	}
	details = append(details, visibility()...)
	return append(sources, details...), nil
}

// missing describes a source that cannot work here.
func missing(name string, err error) tcp.Feature {
	f := tcp.Feature{Name: name, Reason: err.Error()}
	switch {
	case runtime.GOOS != "linux":
		f.Remedy = "run ViewTCP on Linux"
	case errors.Is(err, tcp.ErrPermission) && name == "ebpf":
		f.Remedy = "run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN"
	case errors.Is(err, tcp.ErrPermission), errors.Is(err, os.ErrPermission):
		f.Remedy = "run as root"
	case name == "ebpf":
		f.Remedy = "use a kernel of 5.12 or later with CONFIG_DEBUG_INFO_BTF"
	}
	return f
}

// visibility tells which namespaces and processes can be looked into.
func visibility() []tcp.Feature {
	var fs []tcp.Feature
	if v, err := procfs.Look(procfs.DefaultConfig()); err == nil {
		f := tcp.Feature{Name: "host.pid_namespace", Available: v.Initial}
		if v.Initial {
			f.Reason = "this is the first pid namespace, which sees every process"
		} else {
			f.Reason = "this is a pid namespace of its own; processes outside of it are unknown"
			f.Remedy = "run in the host's pid namespace (docker run --pid=host)"
		}
		fs = append(fs, f)
	}
	list, hidden, err := netns.List()
	enter := host.HasCapability(capSysAdmin)
	f := tcp.Feature{Name: "host.network_namespaces", Available: err == nil && hidden == 0 && enter}
	switch {
	case err != nil:
		f.Reason = err.Error()
	case f.Available:
		f.Reason = fmt.Sprintf("%d found, all can be entered", len(list))
	default:
		f.Reason = fmt.Sprintf("%d found besides the own one", len(list)-1)
		if hidden > 0 {
			f.Reason += fmt.Sprintf("; %d processes do not show theirs", hidden)
		}
		if !enter {
			f.Reason += "; this user may not enter others"
		}
		f.Remedy = "run as root, or with CAP_SYS_ADMIN and CAP_SYS_PTRACE"
	}
	return append(fs, f)
}

// appendFeatures appends the findings for people.
func appendFeatures(b []byte, fs []tcp.Feature, color bool, limit int) []byte {
	longest := 0
	for _, f := range fs {
		longest = max(longest, len(f.Name))
	}
	for _, f := range fs {
		mark, on, off := "no ", "\x1b[31m", "\x1b[0m"
		if f.Available {
			mark, on = "yes", "\x1b[32m"
		}
		if !color {
			on, off = "", ""
		}
		b = append(b, on+mark+off+"  "+f.Name+strings.Repeat(" ", longest-len(f.Name))...)
		indent := 5 + longest + 2
		b = appendWrapped(b, output.Clean(f.Reason), indent, limit)
		if f.Remedy != "" {
			if f.Reason != "" {
				b = append(b, '\n')
				b = append(b, strings.Repeat(" ", indent-2)...)
			}
			b = appendWrapped(b, "→ "+output.Clean(f.Remedy), indent, limit)
		}
		b = append(b, '\n')
	}
	return b
}

// appendWrapped appends a text after two blanks, wrapped before limit columns
// (0 is never) with the following lines indented.
func appendWrapped(b []byte, text string, indent, limit int) []byte {
	if text == "" {
		return b
	}
	b = append(b, "  "...)
	at := indent
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case limit > indent+20 && at+1+n > limit:
			b = append(b, '\n')
			b = append(b, strings.Repeat(" ", indent)...)
			at = indent
		default:
			b = append(b, ' ')
			at++
		}
		b = append(b, word...)
		at += n
	}
	return b
}
