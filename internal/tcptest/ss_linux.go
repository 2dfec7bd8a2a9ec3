package tcptest

import (
	"context"
	"fmt"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// SS runs ss in each namespace (nil is the own one) and returns all TCP sockets
// that it prints. Other namespaces than the own need root.
func SS(ctx context.Context, namespaces ...*NetNS) ([]SSRow, error) {
	return ss(ctx, "-tinaeOH", namespaces)
}

// SSWithUsers is SS with the processes of each socket.
func SSWithUsers(ctx context.Context, namespaces ...*NetNS) ([]SSRow, error) {
	return ss(ctx, "-tinpaeOH", namespaces)
}

func ss(ctx context.Context, flags string, namespaces []*NetNS) ([]SSRow, error) {
	var all []SSRow
	for _, n := range namespaces {
		var out []byte
		var inode uint32
		var err error
		if n == nil {
			if inode, err = HostNetNS(); err == nil {
				out, err = run(ctx, "", "ss", flags)
			}
		} else {
			inode = n.Inode()
			out, err = n.Run(ctx, "", "ss", flags)
		}
		if err != nil {
			return nil, err
		}
		rows, err := ParseSS(out)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			rows[i].NetNS = inode
		}
		all = append(all, rows...)
	}
	return all, nil
}

// AgreesWithSS runs ss, then list, then ss again, and fails the test on every
// difference that the clock does not explain. It returns the rows.
func AgreesWithSS(tb testing.TB, namespaces []*NetNS, opts CompareOptions, list func() ([]Row, error)) []Row {
	tb.Helper()
	need.Programs(tb, "ss")
	before, err := SS(tb.Context(), namespaces...)
	if err != nil {
		tb.Fatal(err)
	}
	rows, err := list()
	if err != nil {
		tb.Fatal(err)
	}
	after, err := SS(tb.Context(), namespaces...)
	if err != nil {
		tb.Fatal(err)
	}
	diffs := Compare(rows, before, after, opts)
	Report(tb, diffs)
	if len(diffs) == 0 {
		tb.Logf("%d rows agree with %d and %d of ss", len(rows), len(before), len(after))
	}
	return rows
}

// Report fails the test with the first differences.
func Report(tb testing.TB, diffs []Diff) {
	tb.Helper()
	const most = 25
	for i, d := range diffs {
		if i == most {
			tb.Errorf("and %d more", len(diffs)-most)
			return
		}
		tb.Error(d)
	}
}

// NetNS returns the namespace that the child is in. It is gone when the child
// is.
func (c *Child) NetNS() (*NetNS, error) {
	path := fmt.Sprintf("/proc/%d/ns/net", c.PID)
	inode, err := netNSInode(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace of role %s: %w", c.Name, err)
	}
	return &NetNS{path: path, inode: inode}, nil
}
