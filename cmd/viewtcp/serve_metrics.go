package main

import (
	"bytes"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/store"
)

// exposition writes metrics in the text format of Prometheus, version 0.0.4.
type exposition struct{ b bytes.Buffer }

// family begins a metric; kind is counter or gauge.
func (x *exposition) family(name, kind, help string) {
	x.b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// sample writes one value; labels are names and values in turn.
func (x *exposition) sample(name string, v float64, labels ...string) {
	x.b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		x.b.WriteString(sep + labels[i] + `="` + labelEscapes.Replace(output.Clean(labels[i+1])) + `"`)
	}
	if len(labels) > 0 {
		x.b.WriteByte('}')
	}
	x.b.WriteByte(' ')
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		x.b.WriteString(strconv.FormatInt(int64(v), 10))
	} else {
		x.b.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
	}
	x.b.WriteByte('\n')
}

// labelEscapes are those of the format.
var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// counter and gauge write a metric without labels.
func (x *exposition) counter(name, help string, v uint64) {
	x.family(name, "counter", help)
	x.sample(name, float64(v))
}

func (x *exposition) gauge(name, help string, v float64) {
	x.family(name, "gauge", help)
	x.sample(name, v)
}

// metrics writes how serve itself does.
func (d *daemon) metrics(w io.Writer) error {
	var x exposition
	x.family("viewtcp_build_info", "gauge", "The version that runs; always 1.")
	x.sample("viewtcp_build_info", 1, "version", version, "goversion", runtime.Version())
	x.process(d.started)
	d.trackerMetrics(&x)
	if d.engine != nil {
		x.store(d.engine.Status())
		d.historyMetrics(&x)
	}
	d.recorderMetrics(&x)
	d.around.metrics(&x)
	_, err := w.Write(x.b.Bytes())
	return err
}

func (d *daemon) trackerMetrics(x *exposition) {
	s := d.view.Snapshot().Stats
	x.family("viewtcp_connections", "gauge", "Sockets that are followed, by what they are.")
	for _, k := range []struct {
		kind string
		n    int
	}{{"open", s.Open}, {"listening", s.Listening}, {"remnant", s.Remnants}, {"half_open", s.HalfOpen}} {
		x.sample("viewtcp_connections", float64(k.n), "kind", k.kind)
	}
	x.counter("viewtcp_connections_opened_total", "Connections seen; at every moment opened = closed + vanished + open.", s.Opened)
	x.counter("viewtcp_connections_established_total", "Handshakes completed.", s.Established)
	x.counter("viewtcp_connections_closed_total", "Connections whose end was seen.", s.Closed)
	x.counter("viewtcp_connections_vanished_total", "Connections whose end was lost.", s.Vanished)
	x.counter("viewtcp_half_open_evicted_total", "Half-open connections dropped from their table because it was full.", s.HalfOpenEvicted)
	x.counter("viewtcp_connections_rejected_total", "Connections not followed because the table was full.", s.Rejected)
	x.counter("viewtcp_collector_lost_closes_total", "Ends of connections that the collector had to drop, counted by it.", s.Lost.Closes)
	x.family("viewtcp_collector_lost_bytes_total", "counter", "Payload of those connections.")
	x.sample("viewtcp_collector_lost_bytes_total", float64(s.Lost.BytesSent), "direction", "sent")
	x.sample("viewtcp_collector_lost_bytes_total", float64(s.Lost.BytesReceived), "direction", "received")
	x.counter("viewtcp_collector_lost_events_total", "Other events that the collector had to drop.", s.Lost.Events)
	unknown := 0.0
	if s.Lost.Unknown {
		unknown = 1
	}
	x.gauge("viewtcp_collector_lost_unknown", "1 if more was lost at some time than could be counted.", unknown)
	x.counter("viewtcp_collector_restarts_total", "Sources that failed and were followed by another.", d.collect.restarted())
	x.family("viewtcp_collector_info", "gauge", "Where connections come from; always 1.")
	x.sample("viewtcp_collector_info", 1, "source", d.view.status().Source.String())
}

// store tells how the engine does.
func (x *exposition) store(s store.Status) {
	x.family("viewtcp_store_state", "gauge", "1 for the state that the store is in.")
	for _, state := range []store.State{store.StateOK, store.StateFull, store.StateFailing, store.StateClosed} {
		is := 0.0
		if s.State == state {
			is = 1
		}
		x.sample("viewtcp_store_state", is, "state", state.String())
	}
	x.counter("viewtcp_store_batches_total", "Batches acknowledged.", s.Batches)
	x.counter("viewtcp_store_rows_total", "Rows acknowledged.", s.Rows)
	x.counter("viewtcp_store_duplicates_total", "Batches that were kept before.", s.Duplicates)
	x.counter("viewtcp_store_refused_total", "Batches not acknowledged.", s.Refused)
	x.counter("viewtcp_store_replayed_rows_total", "Rows found in the log at the start.", s.Replayed)
	x.gauge("viewtcp_store_unsealed_rows", "Rows in the log, not in a segment yet.", float64(s.Unsealed))
	x.gauge("viewtcp_store_log_bytes", "Size of the log.", float64(s.Log))
	x.counter("viewtcp_store_seals_total", "Segments written.", s.Seals)
	x.counter("viewtcp_store_seal_errors_total", "Segments that could not be written; it is tried again.", s.SealErrors)
	x.counter("viewtcp_store_compactions_total", "Segments merged.", s.Compactions)
	x.counter("viewtcp_store_expired_total", "Segments dropped for age or size.", s.Expired)
	x.counter("viewtcp_store_damages_total", "Places where stored data did not match its checksum.", s.Damages)
	for _, m := range []struct {
		name, help string
		get        func(*store.TableStatus) float64
	}{
		{"viewtcp_store_table_segments", "Segments of a table.", func(t *store.TableStatus) float64 { return float64(t.Segments) }},
		{"viewtcp_store_table_rows", "Rows of a table in segments.", func(t *store.TableStatus) float64 { return float64(t.Rows) }},
		{"viewtcp_store_table_bytes", "Bytes of a table on disk.", func(t *store.TableStatus) float64 { return float64(t.Bytes) }},
	} {
		x.family(m.name, "gauge", m.help)
		for i := range s.Tables {
			x.sample(m.name, m.get(&s.Tables[i]), "table", s.Tables[i].Table.String())
		}
	}
}

func (d *daemon) historyMetrics(x *exposition) {
	n := &d.history.counts
	x.gauge("viewtcp_history_pending_rows", "Rows that wait to be appended.", float64(n.pending.Load()))
	x.counter("viewtcp_history_rows_total", "Rows appended.", n.rows.Load())
	x.counter("viewtcp_history_lost_rows_total", "Rows that could not be appended and are lost.", n.lost.Load())
	x.counter("viewtcp_history_retries_total", "Attempts to append a batch again.", n.retries.Load())
}

func (d *daemon) recorderMetrics(x *exposition) {
	n, why := d.recorder.counts()
	on := 0.0
	if why == "" {
		on = 1
	}
	x.gauge("viewtcp_recorder_running", "1 while packets are recorded.", on)
	x.counter("viewtcp_recorder_packets_total", "Packets recorded.", n.recorded)
	x.family("viewtcp_recorder_left_out_total", "counter", "Packets not recorded on purpose, by reason.")
	x.sample("viewtcp_recorder_left_out_total", float64(n.cut), "reason", "cutoff")
	x.sample("viewtcp_recorder_left_out_total", float64(n.unsampled), "reason", "sampling")
	x.family("viewtcp_recorder_dropped_total", "counter", "Packets lost, by where.")
	x.sample("viewtcp_recorder_dropped_total", float64(n.dropped), "where", "kernel")
	x.sample("viewtcp_recorder_dropped_total", float64(n.lost), "where", "disk")
	x.gauge("viewtcp_recorder_segments", "Files of recorded packets.", float64(n.segments))
	x.gauge("viewtcp_recorder_bytes", "Bytes of recorded packets on disk.", float64(n.bytes))
}

// process tells what serve costs, under the names that other programs use.
func (x *exposition) process(started time.Time) {
	u := ownUsage()
	x.family("process_cpu_seconds_total", "counter", "CPU time of this process, user and system.")
	x.sample("process_cpu_seconds_total", u.cpu.Seconds())
	if u.resident > 0 {
		x.gauge("process_resident_memory_bytes", "Memory of this process that is in RAM.", float64(u.resident))
	}
	if u.fds > 0 {
		x.gauge("process_open_fds", "Open file descriptors.", float64(u.fds))
	}
	x.gauge("process_start_time_seconds", "When this process started, seconds since 1970.", float64(started.UnixMilli())/1000)
	x.gauge("go_goroutines", "Goroutines.", float64(runtime.NumGoroutine()))
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	if samples[0].Value.Kind() == metrics.KindUint64 {
		x.gauge("go_memstats_heap_alloc_bytes", "Bytes of the heap in use.", float64(samples[0].Value.Uint64()))
	}
	if samples[1].Value.Kind() == metrics.KindUint64 {
		x.counter("go_gc_cycles_total", "Garbage collections.", samples[1].Value.Uint64())
	}
}

// processUsage is what this process uses; 0 is unknown.
type processUsage struct {
	cpu      time.Duration
	resident uint64
	fds      int
}

// residentOf reads the second number of /proc/self/statm, in pages.
func residentOf() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
