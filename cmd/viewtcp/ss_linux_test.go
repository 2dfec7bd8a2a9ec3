package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// TestListAgreesWithSS holds the lists of every source against ss of iproute2,
// before and after, on several hundred real sockets in several namespaces.
func TestListAgreesWithSS(t *testing.T) {
	need.Root(t)
	need.Programs(t, "ip", "nft", "ss")
	binary(t)
	scene := tcptest.NewScene(t, 500)
	for _, source := range sourceNames {
		opts := tcptest.CompareOptions{Ignore: scene.Foreign}
		if source == "procfs" {
			opts.NoCookies, opts.KnownOnly = true, true
		}
		var got []tcptest.Row
		list := func(spaces ...string) func() ([]tcptest.Row, error) {
			return func() ([]tcptest.Row, error) {
				got = nil
				for _, path := range spaces {
					r := viewtcp(t, "list", "-o", "jsonl", "--source", source, "--netns", path)
					if r.code != exitOK {
						return nil, errors.New(r.String())
					}
					rows, err := tcptest.ParseRows(strings.NewReader(r.stdout))
					if err != nil {
						return nil, err
					}
					got = append(got, rows...)
				}
				return got, nil
			}
		}
		t.Run(source+" all", func(t *testing.T) {
			tcptest.AgreesWithSS(t, scene.Namespaces, opts, list("all"))
			checkScene(t, scene, got, source)
		})
		t.Run(source+" each", func(t *testing.T) {
			paths := []string{"self"}
			for _, n := range scene.Namespaces[1:] {
				paths = append(paths, n.Path())
			}
			tcptest.AgreesWithSS(t, scene.Namespaces, opts, list(paths...))
			// Each command listed its own namespace only, else sockets came twice,
			// which AgreesWithSS reports.
			checkScene(t, scene, got, source)
		})
	}
}

// checkScene makes sure that the comparison was of what the test is about.
func checkScene(t *testing.T, scene *tcptest.Scene, got []tcptest.Row, source string) {
	t.Helper()
	states, families, spaces, n := map[string]int{}, map[string]int{}, map[string]int{}, 0
	for _, row := range got {
		if text(row, "source") != source {
			t.Fatalf("a row of source %s where %s was asked for", text(row, "source"), source)
		}
		if scene.Foreign(row) {
			continue
		}
		n++
		states[text(row, "state")]++
		families[text(row, "family")]++
		spaces[text(row, "netns")]++
	}
	if n < 500 || len(spaces) < 4 || families["ipv6"] == 0 || families["ipv4"] == 0 {
		t.Errorf("only %d sockets, namespaces %v, families %v", n, spaces, families)
	}
	for _, s := range []string{
		"LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT",
		"CLOSING", "LAST_ACK", "TIME_WAIT",
	} {
		if states[s] == 0 {
			t.Errorf("no socket in %s, only %v", s, states)
		}
	}
	// Whose they are: the ledger knows.
	cookies := byCookie(got)
	ends := map[string]tcptest.Row{}
	for _, row := range got {
		local, remote := row.Ends()
		ends[local.String()+remote.String()] = row
	}
	wrong := 0
	for _, e := range scene.Ledger {
		row := cookies[decimal(e.Cookie)]
		if source == "procfs" {
			row = ends[e.Local.String()+e.Remote.String()]
		}
		if row == nil || text(row, "pid") != decimal(uint64(e.PID)) {
			if wrong++; wrong < 10 {
				t.Errorf("%v -> %v of process %d: row %v", e.Local, e.Remote, e.PID, row)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d processes are wrong", wrong, len(scene.Ledger))
	}
	t.Logf("%d sockets in %d namespaces, states %v, families %v, %d processes right", n, len(spaces), states, families, len(scene.Ledger)-wrong)
}
