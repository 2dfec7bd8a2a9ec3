package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// A daemon is viewtcp serve at work on a data directory of its own.
type daemon struct {
	*program
	dir            string
	address, token string
}

// startDaemon starts serve and returns when it has seen all connections.
func startDaemon(ctx context.Context, o *options, args ...string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "viewtcp-bench-serve-")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir}
	d.program, err = start(ctx, nil, append([]string{o.viewtcp, "serve", "--data", dir, "--listen", "127.0.0.1:0"}, args...)...)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := d.ready(ctx); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// close ends it and removes its data.
func (d *daemon) close() {
	d.stop()
	_ = os.RemoveAll(d.dir)
}

// ready waits until it answers.
func (d *daemon) ready(ctx context.Context) error {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		select {
		case <-d.done:
			return fmt.Errorf("serve ended: %w: %.300s", d.err, d.stderr.String())
		default:
		}
		if raw, err := os.ReadFile(filepath.Join(d.dir, "daemon.json")); err == nil {
			var info struct{ Address string }
			token, terr := os.ReadFile(filepath.Join(d.dir, "token"))
			if err := errors.Join(json.Unmarshal(raw, &info), terr); err != nil {
				return err
			}
			d.address, d.token = info.Address, strings.TrimSpace(string(token))
			if _, err := d.get(ctx, "/readyz"); err == nil {
				return nil
			}
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.New("serve does not become ready")
}

// get asks the daemon.
func (d *daemon) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+d.token)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return string(b), err
}

// metric reads metrics without labels by their names.
func (d *daemon) metric(ctx context.Context, names ...string) ([]float64, error) {
	text, err := d.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	return metricsIn(text, names...)
}

func metricsIn(text string, names ...string) ([]float64, error) {
	values := make([]float64, len(names))
	for i, name := range names {
		values[i] = math.NaN()
		for line := range strings.Lines(text) {
			rest, ok := strings.CutPrefix(line, name+" ")
			if !ok {
				continue
			}
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				return nil, fmt.Errorf("metric %q: %w", strings.TrimSpace(line), err)
			}
			values[i] = v
		}
		if math.IsNaN(values[i]) {
			return nil, fmt.Errorf("there is no metric %s", name)
		}
	}
	return values, nil
}

// Targets of P3.
const (
	serveSockets = 200
	serveLoad    = 0.005
	serveMemory  = 80e6
)

// measureServe is P3: what the daemon costs a host where little happens.
func measureServe(ctx context.Context, o *options) (_ *report, err error) {
	r := &report{}
	if err := drained(ctx, r); err != nil {
		return r, err
	}
	hold, err := tcptest.HoldSockets(serveSockets)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, hold.Close()) }()
	what := count(serveSockets) + " sockets"
	for _, mode := range []struct {
		name, packets string
		target        bool
	}{{"with history", "false", true}, {"with history and recorder", "true", false}} {
		if err := serveQuiet(ctx, o, r, what+", "+mode.name, mode.packets, mode.target); err != nil {
			return r, err
		}
	}
	return r, nil
}

func serveQuiet(ctx context.Context, o *options, r *report, what, packets string, target bool) error {
	d, err := startDaemon(ctx, o, "--packets="+packets)
	if err != nil {
		return err
	}
	defer d.close()
	if err := sleep(ctx, settle); err != nil {
		return err
	}
	cpu0, err := d.cpu()
	if err != nil {
		return err
	}
	begin := time.Now()
	var highest uint64
	for time.Since(begin) < o.window {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		now, _, err := d.memory()
		if err != nil {
			return err
		}
		highest = max(highest, now)
	}
	cpu1, err := d.cpu()
	if err != nil {
		return err
	}
	load := float64(cpu1-cpu0) / float64(time.Since(begin))
	cpu := row{what: what + ": share of a core", ours: percent(load), command: o.viewtcp + " serve --packets=" + packets}
	memory := row{what: what + ": resident memory", ours: mib(highest), command: cpu.command}
	if target {
		cpu.limit, cpu.verdict = "≤ "+percent(serveLoad), meets(load <= serveLoad)
		memory.limit, memory.verdict = "≤ "+mib(serveMemory), meets(highest <= serveMemory)
	}
	r.add(cpu)
	r.add(memory)
	return nil
}

// soakSlice is how long connections come until they are held against history.
const soakSlice = 10 * time.Second

const (
	// soakMemory is what the daemon may hold under the load, bytes.
	soakMemory = 200e6
	// soakGrowth is how much of its memory the line through it may rise by from
	// the first third to the end: less is the garbage that waits at either end.
	soakGrowth = 0.1
)

// soakState is what must not grow, and when it was read, seconds.
type soakState struct{ at, resident, goroutines, fds float64 }

// highest is the most of each.
func highest(states []soakState) (h soakState) {
	for _, s := range states {
		h.resident, h.goroutines, h.fds = max(h.resident, s.resident), max(h.goroutines, s.goroutines), max(h.fds, s.fds)
	}
	return h
}

// growth is the line of least squares through the memory of states: where it
// begins and ends, bytes, and how much it rises in an hour.
func growth(states []soakState) (begin, end, perHour float64) {
	var at, resident []float64
	for _, s := range states {
		at, resident = append(at, s.at), append(resident, s.resident)
	}
	perSecond, at0 := slope(at, resident)
	begin, end = at0+perSecond*at[0], at0+perSecond*at[len(at)-1]
	return begin, end, perSecond * time.Hour.Seconds()
}

// measureSoak makes connections for a long time: each must be in history once,
// with exact bytes, and the daemon, as it is without any flag, must not grow.
func measureSoak(ctx context.Context, o *options) (*report, error) {
	r := &report{}
	d, err := startDaemon(ctx, o)
	if err != nil {
		return r, err
	}
	defer d.close()
	past, err := parquet.OpenReadOnly(filepath.Join(d.dir, "store"))
	if err != nil {
		return r, err
	}
	var states []soakState
	made, wrong := 0, 0
	cpu0, err := d.cpu()
	if err != nil {
		return r, err
	}
	begin := time.Now()
	for time.Since(begin) < o.soak || len(states) < 3 {
		n, bad, err := soakOnce(ctx, o, past)
		if err != nil {
			return r, err
		}
		made, wrong = made+n, wrong+bad
		v, err := d.metric(ctx, "process_resident_memory_bytes", "go_goroutines", "process_open_fds")
		if err != nil {
			return r, err
		}
		states = append(states, soakState{time.Since(begin).Seconds(), v[0], v[1], v[2]})
		fmt.Fprintf(os.Stderr, "bench: %s: %d connections, %d wrong; %s resident, %.0f goroutines, %.0f descriptors\n",
			time.Since(begin).Round(time.Second), made, wrong, mib(uint64(v[0])), v[1], v[2])
	}
	elapsed := time.Since(begin)
	cpu1, err := d.cpu()
	if err != nil {
		return r, err
	}
	counts, err := d.metric(ctx, "viewtcp_collector_lost_closes_total", "viewtcp_history_lost_rows_total", "viewtcp_connections_vanished_total")
	if err != nil {
		return r, err
	}
	if counts[2] > 0 {
		if err := nameVanished(ctx, past, begin); err != nil {
			return r, err
		}
	}
	third := len(states) / 3
	middle, last := highest(states[third:2*third]), highest(states[2*third:])
	all := highest(states)
	from, to, perHour := growth(states[third:])
	command := fmt.Sprintf("%s serve, %d connections/s for %s", o.viewtcp, o.soakRate, elapsed.Round(time.Second))
	r.add(row{what: "connections whose two ends are in history once, with exact bytes", ours: fmt.Sprintf("%s of %s", count(made-wrong), count(made)), limit: "all", verdict: meets(wrong == 0), command: command})
	r.add(row{what: "ends lost and counted; rows lost; ends not seen", ours: fmt.Sprintf("%.0f; %.0f; %.0f", counts[0], counts[1], counts[2]), limit: "0; 0; 0", verdict: meets(counts[0]+counts[1]+counts[2] == 0)})
	r.add(row{what: "resident memory at most, with history and recorder", ours: mib(uint64(all.resident)), limit: "≤ " + mib(soakMemory), verdict: meets(all.resident <= soakMemory)})
	r.add(row{what: "resident memory, line of least squares after the first third", ours: fmt.Sprintf("%.1f MB to %.1f MB, %+.1f MB an hour", from/1e6, to/1e6, perHour/1e6), limit: fmt.Sprintf("rises by ≤ %.0f %%", 100*soakGrowth), verdict: meets(to-from <= soakGrowth*from)})
	r.add(row{what: "goroutines, most of the middle and of the last third", ours: fmt.Sprintf("%.0f, %.0f", middle.goroutines, last.goroutines), limit: "flat", verdict: meets(last.goroutines <= middle.goroutines+8)})
	r.add(row{what: "descriptors likewise", ours: fmt.Sprintf("%.0f, %.0f", middle.fds, last.fds), limit: "flat", verdict: meets(last.fds <= middle.fds+8)})
	r.add(row{what: "CPU of serve per connection (two ends)", ours: microseconds(float64(cpu1-cpu0) / float64(made))})
	return r, nil
}

// soakOnce makes connections for a slice of time and holds history against them.
func soakOnce(ctx context.Context, o *options, past store.Querier) (made, wrong int, err error) {
	storm, err := tcptest.StartStorm(tcptest.StormConfig{
		Connections: o.soakRate * int(soakSlice/time.Second), Rate: o.soakRate, Modes: tcptest.CloseModes(),
		Sent: [2]int{100, 199}, Reply: [2]int{50, 349},
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, storm.Close()) }()
	begin := time.Now()
	result, err := storm.Run()
	if err != nil {
		return 0, 0, err
	}
	made = len(result.Ledger) / 2
	// Rows are on disk a second after what they tell of, on a busy machine later.
	for deadline := time.Now().Add(60 * time.Second); ; {
		if wrong, err = soakWrong(ctx, past, begin, result.Ledger); err != nil || wrong == 0 || time.Now().After(deadline) {
			return made, wrong, err
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			return made, wrong, err
		}
	}
}

// nameVanished says whose ends were not seen: a host may have connections of others.
func nameVanished(ctx context.Context, past store.Querier, since time.Time) error {
	q := &store.Query{From: since.Add(-time.Second), To: time.Now().Add(time.Minute)}
	_, err := past.Records(ctx, q, func(rec *store.Record) error {
		if c := rec.Conn; rec.Kind == store.Close && !c.Complete && c.Reason == tcp.CloseUnknown {
			name := ""
			if c.Process != nil {
				name = c.Process.Name
			}
			fmt.Fprintf(os.Stderr, "bench: the end of %s:%d, %s:%d, process %q, was not seen\n", c.Local, c.LocalPort, c.Remote, c.RemotePort, name)
		}
		return nil
	})
	return err
}

// soakWrong counts the connections of which an end is not in history, is there
// twice, or has other bytes.
func soakWrong(ctx context.Context, past store.Querier, since time.Time, l tcptest.Ledger) (int, error) {
	type found struct {
		ends           int
		sent, received uint64
	}
	all := make(map[uint64]*found, len(l))
	for i := range l {
		all[l[i].Cookie] = new(found)
	}
	q := &store.Query{From: since.Add(-time.Second), To: time.Now().Add(time.Minute)}
	_, err := past.Records(ctx, q, func(rec *store.Record) error {
		f := all[rec.Conn.Cookie]
		if f == nil {
			return nil
		}
		sent, _ := rec.Delta(store.BytesSent)
		received, _ := rec.Delta(store.BytesReceived)
		f.sent, f.received = f.sent+sent, f.received+received
		if rec.Kind == store.Close {
			f.ends++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	wrong := 0
	for i := range l {
		if f := all[l[i].Cookie]; f.ends != 1 || f.sent != l[i].Sent || f.received != l[i].Received {
			wrong++
		}
	}
	return (wrong + 1) / 2, nil
}
