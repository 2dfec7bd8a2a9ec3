package main

import (
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/web"
)

// TestHistoryOfDaemon checks that a daemon answers as its data directory does.
func TestHistoryOfDaemon(t *testing.T) {
	dir := byHand(t)
	cfg := parquet.DefaultConfig()
	cfg.Dir, cfg.Retention = filepath.Join(dir, storeDir), nil
	engine, err := parquet.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	token, err := makeToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := web.New(web.Config{Store: engine, StoreStatus: engine.Status, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.Handler())
	t.Cleanup(func() {
		server.Close()
		w.Close()
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, args := range []string{
		"history -o json", "history process nginx -o csv", "history --sort rtt --limit 2 -o jsonl", "history --reverse",
		"history -o jsonl --columns id,bytes_sent,rtt,process,local,state",
		"history --group-by process --peak --sum bytes_sent -o json", "history --percentiles rtt --every 5m -o csv",
		"history --group-by service --top 1 --by bytes_received", "history --count --compare", "history --heatmap",
		"history --events -o json", "history --events=mark,gap", "history --timeline " + tcp.ID(1).String() + " -o json",
		"history --timeline " + tcp.ID(4).String(), "history process nobody", "history --top 2 --by bytes_sent",
		"list --at 2026-11-20T12:05:35Z -o json", "list --at 2026-11-20T12:29:00Z",
	} {
		words := strings.Fields(args)
		if words[0] == "history" && !strings.Contains(args, "--timeline") {
			words = append(words, "--since", "2026-11-20T12:00:00Z", "--until", "2026-11-20T12:30:00Z")
		}
		want := inProcess(t, append(words, "--data", dir, "--local")...)
		got := inProcess(t, append(words, "--data", dir, "--server", server.URL)...)
		// Who answers may say so, and read more or less for it.
		if got.code != want.code || got.stdout != want.stdout {
			t.Errorf("%s: the daemon says\n%v\nits data directory\n%v", args, got, want)
		}
	}
	// A wrong token is not a history that is empty.
	t.Setenv("VIEWTCP_TOKEN", strings.Repeat("A", len(token)))
	if r := inProcess(t, "history", "--server", server.URL); r.code != exitPermission {
		t.Errorf("with a wrong token: %v", r)
	}
}
