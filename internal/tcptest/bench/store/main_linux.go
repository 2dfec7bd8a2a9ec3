package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

type options struct {
	rows    int
	batch   int
	days    float64
	dir     string
	keep    bool
	ask     bool
	only    string
	profile string
	heap    string
	// repeat is how often each query is asked, dashboard how long the last one is.
	repeat    int
	dashboard time.Duration
	write     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	var o options
	fl := flag.NewFlagSet("store", flag.ContinueOnError)
	fl.IntVar(&o.rows, "rows", 100_000, "`records` to keep; the targets are of 10,000,000")
	fl.IntVar(&o.repeat, "repeat", 3, "how `often` each query is asked")
	fl.DurationVar(&o.dashboard, "dashboard", 3*time.Second, "for how `long` the dashboard is asked for")
	fl.StringVar(&o.write, "w", "", "rewrite the section of the store in this `file`")
	fl.IntVar(&o.batch, "batch", 1000, "records a batch, each synced")
	fl.Float64Var(&o.days, "days", 0, "`days` that they are spread over; 0 is 90 for 10,000,000, and so on")
	fl.StringVar(&o.dir, "dir", "", "data `directory`; a new one below the system's temporary one by default")
	fl.BoolVar(&o.keep, "keep", false, "leave the data there, and the dashboard out")
	fl.BoolVar(&o.ask, "ask", false, "only ask: the directory has as many records of an earlier run")
	fl.StringVar(&o.only, "only", "", "ask only the queries whose name has this `text`")
	fl.StringVar(&o.heap, "memprofile", "", "write a profile of the memory in use at the end to this `file`")
	fl.StringVar(&o.profile, "cpuprofile", "", "write a profile to this `file`: of the ingest, or with -ask of the queries")
	if err := fl.Parse(args); err != nil {
		return err
	}
	// As `viewtcp serve` does, whose store this is.
	debug.SetGCPercent(50)
	if o.days == 0 {
		o.days = math.Ceil(float64(o.rows) * 90 / 10_000_000)
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "viewtcp-store-")
		if err != nil {
			return err
		}
		o.dir = dir
	}
	if !o.keep {
		defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	}
	if o.profile != "" && !o.ask {
		stop, err := startProfile(o.profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	cfg := parquet.DefaultConfig()
	cfg.Dir, cfg.SealAge, cfg.Retention = o.dir, 0, nil
	if o.ask {
		return ask25(ctx, &o, cfg, nil, out)
	}
	return ingest(ctx, &o, cfg, out)
}

// firstDay is when the records begin.
var firstDay = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)

func ingest(ctx context.Context, o *options, cfg parquet.Config, out io.Writer) (err error) {
	runtime.LockOSThread() // the generator's time is that of this thread
	g := storetest.NewGenerator(1, o.rows, firstDay, o.days)
	g.Reuse()
	debug.FreeOSMemory()
	before, _ := memory()
	var last int64
	cfg.Now = func() time.Time { return time.Unix(0, last).UTC() }
	e, err := parquet.Open(cfg)
	if err != nil {
		return err
	}
	wall, cpu := time.Now(), processTime()
	var making time.Duration
	b := &store.Batch{}
	for n := 0; n < o.rows; {
		t := threadTime()
		b.Reset()
		b.Records = g.Next(b.Records, o.batch)
		making += threadTime() - t
		n += len(b.Records)
		b.ID = store.BatchID{Agent: "bench", Epoch: 1, Sequence: b.ID.Sequence + uint64(n)}
		last = b.Records[len(b.Records)-1].Time
		b.Time = last
		if err := e.Append(ctx, b); err != nil {
			return errors.Join(err, e.Close())
		}
		// The engine falls behind only because we make months in seconds.
		for e.Status().Unsealed > uint64(2*cfg.SealRows) {
			if err := ctx.Err(); err != nil {
				return errors.Join(err, e.Close())
			}
			time.Sleep(time.Millisecond)
		}
	}
	acknowledged := time.Since(wall)
	err = e.Maintain(true)
	cpu = processTime() - cpu - making
	done := time.Since(wall)
	if o.heap != "" {
		err = errors.Join(err, writeHeap(o.heap))
	}
	s := e.Status()
	if err = errors.Join(err, e.Close()); err != nil {
		return err
	}
	after, peak := memory()
	rows := float64(o.rows)
	fmt.Fprintf(out, "records        %d in %d batches, over %.0f days\n", o.rows, (o.rows+o.batch-1)/o.batch, o.days)
	fmt.Fprintf(out, "processor      %.2f µs a record (making them: %.2f, not counted)\n", float64(cpu.Nanoseconds())/1e3/rows, float64(making.Nanoseconds())/1e3/rows)
	fmt.Fprintf(out, "wall           %.1f s until the last was acknowledged, %.1f s until all were sealed\n", acknowledged.Seconds(), done.Seconds())
	for _, t := range s.Tables {
		if t.Segments > 0 {
			fmt.Fprintf(out, "%-14s %d segments, %d rows, %.1f bytes a row, %.1f bytes a record\n", t.Table, t.Segments, t.Rows, float64(t.Bytes)/float64(t.Rows), float64(t.Bytes)/rows)
		}
	}
	size, err := sizeOf(o.dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "on disk        %.1f bytes a record\n", float64(size)/rows)
	fmt.Fprintf(out, "memory         %.0f MB resident at most, %.0f MB at the end; %.0f MB of it before the engine was opened\n", float64(peak)/1e6, float64(after)/1e6, float64(before)/1e6)
	fmt.Fprintf(out, "seals          %d, merges %d, failed %d, damage %d\n", s.Seals, s.Compactions, s.SealErrors, s.Damages)
	lines := []line{{
		"S1 ingest: processor, bytes on disk, resident memory",
		fmt.Sprintf("%.2f µs a record, %.1f bytes a record, %.0f MB", float64(cpu.Nanoseconds())/1e3/rows, float64(size)/rows, float64(peak)/1e6),
		"≤ 6 µs, ≤ 80 B, ≤ 150 MB",
	}}
	runtime.UnlockOSThread()
	return ask25(ctx, o, cfg, lines, out)
}

// ask25 measures the queries of S2 to S5 on what was kept.
func ask25(ctx context.Context, o *options, cfg parquet.Config, lines []line, out io.Writer) error {
	e, err := parquet.Open(cfg)
	if err != nil {
		return err
	}
	more, err := queries(ctx, o, e, firstDay)
	lines = append(lines, more...)
	printLines(out, lines)
	if err = errors.Join(err, e.Close()); err != nil || o.write == "" {
		return err
	}
	head := fmt.Sprintf("%d cores, %s, %d records over %.0f days, medians of %d", runtime.NumCPU(), runtime.Version(), o.rows, o.days, o.repeat)
	return rewrite(o.write, head, lines)
}

// startProfile writes where the processor's time goes until stop is called.
func startProfile(path string) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut off says so itself
	}, nil
}

func writeHeap(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	runtime.GC()
	return errors.Join(pprof.Lookup("heap").WriteTo(f, 0), f.Close())
}

func sizeOf(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}

func processTime() time.Duration { return clock(unix.CLOCK_PROCESS_CPUTIME_ID) }
func threadTime() time.Duration  { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }

// clock reads a clock of processor time. They count what runs now up to this
// moment; getrusage(2) of a thread knows no more than the last tick did.
func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// resetPeak lets the highest resident set count from now on, when what is not used
// any more has been given back; it reports whether the system can.
func resetPeak() bool {
	debug.FreeOSMemory()
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil // Documentation/filesystems/proc.rst
}

// memory is the resident set now and at its highest, bytes.
func memory() (now, peak uint64) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		w := strings.Fields(sc.Text())
		if len(w) < 2 {
			continue
		}
		kib, _ := strconv.ParseUint(w[1], 10, 64)
		switch w[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	return now, peak
}
