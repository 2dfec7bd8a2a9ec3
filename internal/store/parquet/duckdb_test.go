package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

// duckScript runs queries in DuckDB: an array of SQL on standard input, an array
// of rows of texts for each on standard output.
const duckScript = `
const { DuckDBInstance } = require("@duckdb/node-api");
(async () => {
  const db = await (await DuckDBInstance.create(":memory:")).connect();
  await db.run("SET TimeZone = 'UTC'");
  const out = [];
  for (const sql of JSON.parse(require("fs").readFileSync(0, "utf8"))) {
    out.push((await db.runAndReadAll("SELECT coalesce(columns(*)::VARCHAR, 'NULL') FROM (" + sql + ")")).getRowsJson());
  }
  process.stdout.write(JSON.stringify(out));
})().catch((err) => { console.error(err); process.exit(1); });
`

// duckDB returns what asks DuckDB, through Node.js and the npm package
// @duckdb/node-api. VIEWTCP_DUCKDB is where that is installed; else it is where
// scripts/setup puts it, or where Node.js finds it.
func duckDB(t *testing.T) func(sql ...string) [][][]string {
	t.Helper()
	dir := os.Getenv("VIEWTCP_DUCKDB")
	if cache, err := os.UserCacheDir(); dir == "" && err == nil {
		dir = filepath.Join(cache, "viewtcp", "duckdb")
	}
	modules := filepath.Join(dir, "node_modules")
	node := func(stdin []byte, script string) ([]byte, error) {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), "node", "-e", script)
		cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
		cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("node: %w: %.2000s", err, stderr.Bytes())
		}
		return out, err
	}
	if _, err := node(nil, `require("@duckdb/node-api")`); err != nil {
		const what = "node and the npm package @duckdb/node-api"
		if why, err := os.ReadFile(dir + ".cannot"); err == nil {
			t.Skipf("this test needs %s, and this host cannot have them: %s", what, why)
		}
		t.Log(err)
		need.That(t, false, what+" in "+dir)
	}
	return func(sql ...string) (rows [][][]string) {
		t.Helper()
		in, err := json.Marshal(sql)
		if err != nil {
			t.Fatal(err)
		}
		out, err := node(in, duckScript)
		if err == nil {
			err = json.Unmarshal(out, &rows)
		}
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
}

// TestDuckDB reads segments with DuckDB, which shares nothing with us but the
// specification of Parquet: whole rows, and what docs/format.md says of sums. Of
// times that are UTC it reads microseconds.
func TestDuckDB(t *testing.T) {
	query := duckDB(t)
	dir := t.TempDir()
	e := mustOpen(t, testConfig(dir))
	g := storetest.NewGenerator(51, 300, storetest.Begin, 2)
	var rows, open [][]string
	var sent uint64
	middle := storetest.Begin.Add(day).UnixNano()
	alive := make(map[uint64]bool)
	const batches = 3
	for seq := range batches {
		recs := g.Next(nil, 100)
		if seq%2 == 0 {
			storetest.AddPackets(recs)
		}
		for i := range recs {
			r := &recs[i]
			delta := "NULL"
			if r.Deltas != nil {
				delta = strconv.FormatUint(r.Deltas[store.BytesSent], 10)
			}
			if d, ok := r.Delta(store.BytesSent); ok {
				sent += d
			}
			state := "NULL"
			if r.Conn.Packets != nil {
				state = r.Conn.Packets.ConnState
			}
			rows = append(rows, []string{
				strconv.FormatUint(uint64(r.Conn.ID), 10), strconv.FormatInt(r.Time/1000, 10), r.Kind.String(), r.Conn.Names.Service,
				r.Conn.Remote.String(), strconv.FormatUint(r.Conn.Metrics.BytesSent, 10), delta,
				strconv.FormatUint(uint64(r.Conn.Metrics.RTT), 10), r.Conn.Process.Name, strconv.FormatBool(r.Conn.Complete), state,
			})
			if r.Time >= middle && r.Start() < middle {
				alive[uint64(r.Conn.ID)] = true
			}
		}
		b := store.Batch{
			ID: store.BatchID{Agent: "a", Epoch: 1, Sequence: uint64(seq + 1)}, Records: recs, Events: marks(seq, 1),
			Usage: usageRows(storetest.Begin, 1), Samples: []store.Sample{{Time: middle, Span: 1e6, ID: 7, SendRate: 1 << 60}},
			Peaks: []store.Peak{{Time: middle, Interval: store.Hour, Set: store.ByService, Service: "web", MaxOpen: uint64(seq)}},
		}
		if err := e.Append(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if err := e.Maintain(true); err != nil {
			t.Fatal(err)
		}
	}
	open = append(open, []string{strconv.Itoa(len(alive))})
	from := func(table string) string {
		return " FROM read_parquet('" + filepath.Join(dir, table, "*", "*.parquet") + "', union_by_name = true)"
	}
	at := strconv.FormatInt(middle/1000, 10)
	got := query(
		"SELECT id, epoch_us(time), kind, service, remote_ip, bytes_sent, bytes_sent_delta, rtt_us, process, complete, conn_state"+from("connections")+" ORDER BY id, epoch_us(time)",
		"SELECT sum(coalesce(bytes_sent_delta, bytes_sent)), count(*)"+from("connections"),
		"SELECT sum(bytes_sent), sum(rows)"+from("rollup_1m"),
		"SELECT sum(bytes_sent), sum(rows)"+from("rollup_1h"),
		"SELECT count(DISTINCT id)"+from("connections")+" WHERE epoch_us(time) >= "+at+" AND epoch_us(time) - duration_us::BIGINT < "+at,
		"SELECT event, host, text"+from("events")+" ORDER BY time",
		"SELECT max(max_open), count(*), min(epoch_us(time))"+from("peaks"),
		"SELECT id, send_rate, span_us"+from("samples")+" LIMIT 1",
		"SELECT count(*), count(DISTINCT process)"+from("usage"),
	)
	slices.SortFunc(rows, func(a, b []string) int {
		x, _ := strconv.ParseUint(a[0], 10, 64)
		y, _ := strconv.ParseUint(b[0], 10, 64)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		default:
			return strings.Compare(a[1], b[1]) // of one length
		}
	})
	total := [][]string{{strconv.FormatUint(sent, 10), strconv.Itoa(len(rows))}}
	var events [][]string
	for _, ev := range marks(0, batches) {
		events = append(events, []string{ev.Type, ev.Host, ev.Text})
	}
	want := [][][]string{
		rows, total, total, total, open, events,
		{{"2", "3", at}},
		{{"7", strconv.FormatUint(1<<60, 10), "1000000"}},
		{{"9", "2"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answers (-want +got):\n%.4000s", diff)
	}
}
