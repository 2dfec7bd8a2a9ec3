package tcptest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// What a capture may cost, however broken it is.
const (
	faultMemory = 512 << 20
	faultCPU    = 30 * time.Second
	faultCuts   = 64
	faultSeeds  = 20
)

// A brokenRun is what the role "captures" says of one file and its broken
// versions.
type brokenRun struct {
	Versions, Failed int
	// Segments is of all versions together.
	Segments uint64
	// CPU is the most that one version took; Worst names it.
	CPU   time.Duration
	Worst string
	// Memory is the highest resident set of the process so far.
	Memory uint64
}

// capturesRole reads the files that it is told, each in all its broken versions.
// It is a process of its own so that a crash is one file's and memory can be
// measured.
func capturesRole(c *Control) error {
	var none struct{}
	if err := c.Recv(&none); err != nil {
		return err
	}
	for {
		var path string
		if err := c.Recv(&path); err != nil {
			return err
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var run brokenRun
		version := func(name string, b []byte) {
			before := processorTime()
			segments, err := analyzeBytes(name, b)
			if took := processorTime() - before; took > run.CPU {
				run.CPU, run.Worst = took, name
			}
			run.Versions++
			run.Segments += segments
			if err != nil {
				run.Failed++
			}
		}
		version("whole", whole)
		for i := range faultCuts {
			version(fmt.Sprintf("cut at %d/%d", i, faultCuts), whole[:len(whole)*i/faultCuts])
		}
		broken := make([]byte, len(whole))
		for seed := range uint64(faultSeeds) {
			copy(broken, whole)
			rnd := rand.New(rand.NewPCG(seed, 0))
			for range (len(broken) + 49) / 50 { // 2 %
				broken[rnd.IntN(len(broken))] = byte(rnd.Uint32())
			}
			version(fmt.Sprintf("seed %d", seed), broken)
		}
		var ru unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
			return err
		}
		run.Memory = uint64(ru.Maxrss) << 10
		if err := c.Send(run); err != nil {
			return err
		}
	}
}

func processorTime() time.Duration {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// analyzeBytes does all that analyze does with a capture, but for printing.
func analyzeBytes(name string, b []byte) (segments uint64, err error) {
	defer func() {
		if r := recover(); r != nil {
			panic(fmt.Sprintf("%s: %v\n%s", name, r, debug.Stack()))
		}
	}()
	r, err := capture.NewReader(bytes.NewReader(b), capture.ReadOptions{})
	if err != nil {
		return 0, err
	}
	defer r.Close()
	var (
		a   *analysis.Analyzer
		row tcp.Conn
		sum uint64
		f   capture.Frame
		s   capture.Segment
		p   analysis.Packet
		// Fragments are put together as analyze does.
		whole capture.Reassembler
		ids   = tcp.NewIDs("faults")
		mine  = func(tcp.Addr) bool { return true }
	)
	cfg := analysis.DefaultConfig()
	cfg.OnEnd = func(c *analysis.Conn) {
		a.Fill(c, ids, mine, &row)
		sum += c.Sides[0].Packets + c.Sides[1].Packets
	}
	a = analysis.New(cfg)
	for {
		err := r.Next(&f)
		if err != nil {
			a.Flush()
			if stats := a.Stats(); stats.Segments != segments || sum+stats.ICMP != segments {
				panic(fmt.Sprintf("%d segments, %d in connections and %d in ICMP", segments, sum, stats.ICMP))
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return segments, err
		}
		if whole.Decode(&f, &s) == capture.TCP {
			segments++
			a.Add(&s, &p)
		}
	}
}

// TestFaultCaptures: captures cut short anywhere and captures with 2 % of their
// bytes changed do no harm: no crash, no more memory and processor time than a
// bound for each.
func TestFaultCaptures(t *testing.T) {
	files := generateCaptures(t)
	if dir := os.Getenv("VIEWTCP_CAPTURES"); dir != "" {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			if !strings.HasPrefix(path, filepath.Join(dir, "truth")) {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var total brokenRun
	var child *Child
	for _, path := range files {
		if child == nil {
			child = Start(t, "captures", nil)
		}
		var run brokenRun
		if err := child.Call(path, &run); err != nil {
			t.Errorf("%s: %v", path, err)
			_ = child.Kill()
			child = nil
			continue
		}
		if run.CPU > faultCPU {
			t.Errorf("%s, %s: %v of processor time", path, run.Worst, run.CPU)
		}
		if run.Memory > faultMemory {
			t.Errorf("%s: %d MiB", path, run.Memory>>20)
			_ = child.Close() // the next file starts with fresh memory
			child = nil
		}
		total.Versions += run.Versions
		total.Failed += run.Failed
		total.Segments += run.Segments
		total.CPU = max(total.CPU, run.CPU)
		total.Memory = max(total.Memory, run.Memory)
	}
	t.Logf("%d files in %d versions, %d of them with an error, %d segments; at most %v of processor time for one, %d MiB for all",
		len(files), total.Versions, total.Failed, total.Segments, total.CPU, total.Memory>>20)
}

// generateCaptures writes what went over a bad link in every format.
func generateCaptures(t *testing.T) []string {
	t.Helper()
	path := Impairment{Delay: 2 * time.Millisecond, Loss: 0.02, Duplicate: 0.01, Reorder: 0.02, ReorderBy: time.Millisecond}
	l := NewLink(t, LinkConfig{Seed: 1, There: path, Back: path, Snap: 1 << 16})
	if _, err := l.Run(Flow{Send: 100 << 10, Reply: 50 << 10, Rounds: 2}, Flow{Send: 3000, Abort: true}, Flow{Refused: true}); err != nil {
		t.Fatal(err)
	}
	record, err := l.Record()
	if err != nil {
		t.Fatal(err)
	}
	var pcap, ng, zipped bytes.Buffer
	if err := record.WritePcap(&pcap, 0); err != nil {
		t.Fatal(err)
	}
	r, err := capture.NewReader(bytes.NewReader(pcap.Bytes()), capture.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := capture.NewWriter(&ng, capture.WriterOptions{Interfaces: r.Interfaces()})
	if err != nil {
		t.Fatal(err)
	}
	var f capture.Frame
	for err = r.Next(&f); err == nil; err = r.Next(&f) {
		if err := w.Write(&f, "a comment"); err != nil {
			t.Fatal(err)
		}
	}
	z := gzip.NewWriter(&zipped)
	_, errZip := z.Write(pcap.Bytes())
	if err := errors.Join(w.Flush(), errZip, z.Close()); err != nil || f.Number != uint64(len(record.Ends[0])) {
		t.Fatalf("%d of %d frames: %v", f.Number, len(record.Ends[0]), err)
	}
	dir := t.TempDir()
	var paths []string
	for name, b := range map[string][]byte{"pcap": pcap.Bytes(), "pcapng": ng.Bytes(), "pcap.gz": zipped.Bytes()} {
		path := filepath.Join(dir, "generated."+name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}
