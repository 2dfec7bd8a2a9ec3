package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// kernelCounters reads the kernel's totals of the own namespace.
func kernelCounters() (k tui.Counters, err error) {
	all := make(map[string]uint64)
	for _, path := range []string{"/proc/self/net/snmp", "/proc/self/net/netstat"} {
		f, err := os.Open(path)
		if err != nil {
			return k, fmt.Errorf("kernel counters: %w: %w", err, tcp.ErrNotSupported)
		}
		err = parseCounters(f, all)
		_ = f.Close()
		if err != nil {
			return k, fmt.Errorf("parsing %q: %w", path, err)
		}
	}
	return tui.Counters{
		RetransSegs: all["Tcp.RetransSegs"], OutSegs: all["Tcp.OutSegs"], OutRsts: all["Tcp.OutRsts"],
		ListenOverflows: all["TcpExt.ListenOverflows"], ListenDrops: all["TcpExt.ListenDrops"],
	}, nil
}

// parseCounters reads pairs of lines, names and then values, as
// net/ipv4/proc.c writes them. Values that are not a count are left out.
func parseCounters(r io.Reader, into map[string]uint64) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		group, names, ok := strings.Cut(sc.Text(), ":")
		if !ok || !sc.Scan() {
			break
		}
		again, values, ok := strings.Cut(sc.Text(), ":")
		if !ok || again != group {
			return fmt.Errorf("the values of %.40q are missing", group)
		}
		vs := strings.Fields(values)
		for i, name := range strings.Fields(names) {
			if i >= len(vs) {
				break
			}
			if n, err := strconv.ParseUint(vs[i], 10, 64); err == nil {
				into[group+"."+name] = n
			}
		}
	}
	return sc.Err()
}
