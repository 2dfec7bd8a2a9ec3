package main

import (
	"fmt"
	"os"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// kernelCounters reads the kernel's totals of the own namespace.
func kernelCounters() (k tui.Counters, err error) {
	all := make(map[string]uint64)
	for _, path := range []string{"/proc/self/net/snmp", "/proc/self/net/netstat"} {
		b, err := os.ReadFile(path)
		if err != nil {
			return k, fmt.Errorf("kernel counters: %w: %w", err, tcp.ErrNotSupported)
		}
		err = host.EachCounter(b, func(group, name []byte, v uint64) { all[string(group)+"."+string(name)] = v })
		if err != nil {
			return k, fmt.Errorf("parsing %q: %w", path, err)
		}
	}
	return tui.Counters{
		RetransSegs: all["Tcp.RetransSegs"], OutSegs: all["Tcp.OutSegs"], OutRsts: all["Tcp.OutRsts"],
		ListenOverflows: all["TcpExt.ListenOverflows"], ListenDrops: all["TcpExt.ListenDrops"],
	}, nil
}
