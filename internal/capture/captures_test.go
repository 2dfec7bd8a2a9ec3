package capture

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// truthPacket is one line of truth/packets.
type truthPacket struct {
	frame          uint64
	dir            string
	stream         string
	wire, captured int64
	len            string
	flags          uint64
	seq, ack       string
	window         string
}

func readTruth(t *testing.T, dir, file string) []truthPacket {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "truth", "packets", file+".csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(z).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	col := map[string]int{}
	for i, name := range rows[0] {
		col[name] = i
	}
	num := func(s string) int64 {
		n, _ := strconv.ParseInt(s, 0, 64)
		return n
	}
	var all []truthPacket
	for _, r := range rows[1:] {
		all = append(all, truthPacket{
			frame: uint64(num(r[col["frame"]])), stream: r[col["stream"]], dir: r[col["dir"]],
			wire: num(r[col["len"]]), captured: num(r[col["caplen"]]), len: r[col["tcplen"]],
			flags: uint64(num(r[col["flags"]])), seq: r[col["seq"]], ack: r[col["ack"]], window: r[col["win_raw"]],
		})
	}
	return all
}

// TestTruth compares each TCP packet of the external captures with what tshark
// found in it.
func TestTruth(t *testing.T) {
	dir := need.Captures(t)
	index, err := os.ReadFile(filepath.Join(dir, "truth", "files.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(index))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	packets, equal := 0, 0
	for _, row := range rows[1:] {
		file := row[0]
		want := map[uint64]truthPacket{}
		if row[7] != "0" {
			for _, p := range readTruth(t, dir, file) {
				want[p.frame] = p
			}
		}
		r, err := Open(filepath.Join(dir, strings.Replace(file, "@", string(filepath.Separator), 1)), ReadOptions{})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		var (
			f       Frame
			s       Segment
			whole   Reassembler
			reasons [NumReasons]int
			bad     []string
		)
		for {
			err := r.Next(&f)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Logf("%s: %v", file, err)
				break
			}
			reason := whole.Decode(&f, &s)
			reasons[reason]++
			p, ok := want[f.Number]
			delete(want, f.Number)
			switch {
			case reason != TCP && ok:
				bad = append(bad, fmt.Sprintf("frame %d: %v, want %+v", f.Number, reason, p))
			case reason == TCP && !ok:
				if s.Info&InICMP != 0 && s.HeaderLen == 0 {
					break // quoted up to the sequence number: no stream for tshark
				}
				bad = append(bad, fmt.Sprintf("frame %d: TCP, want none: %v:%d > %v:%d info %b", f.Number, s.Tuple.Local, s.Tuple.LocalPort, s.Tuple.Remote, s.Tuple.RemotePort, s.Info))
			case ok:
				packets++
				if p.len == "" {
					// tshark gives none to what ICMP quotes, to broken lengths, and
					// where it takes the last four bytes for a check sequence.
					p.len = strconv.Itoa(int(s.Len))
				}
				if s.Info&InICMP != 0 { // nor the sequence number there
					p.seq = strconv.FormatUint(uint64(s.Seq), 10)
				}
				got := fmt.Sprintf("%d %d %d %#x %d %d %d", f.WireLen, len(f.Data), s.Len, uint16(s.Flags), s.Seq, s.Ack, s.Window)
				wants := fmt.Sprintf("%d %d %s %#x %s %s %s", p.wire, p.captured, p.len, p.flags, p.seq, p.ack, p.window)
				if got != wants {
					bad = append(bad, fmt.Sprintf("frame %d: got %s, want %s info %b", f.Number, got, wants, s.Info))
				} else {
					equal++
				}
			}
		}
		r.Close()
		if got := strconv.FormatUint(f.Number, 10); got != row[6] {
			t.Errorf("%s: %s frames, want %s", file, got, row[6])
		}
		for n := range want {
			bad = append(bad, fmt.Sprintf("frame %d: not read", n))
		}
		if len(bad) > 0 {
			t.Errorf("%s: %d packets differ; reasons %v", file, len(bad), reasons)
			for _, b := range bad[:min(len(bad), 6)] {
				t.Log("   ", b)
			}
		}
	}
	t.Logf("%d of %d packets equal", equal, packets)
}

// TestCapturesBroken cuts every external capture at every 1/64 of its length,
// and changes 2 % of its bytes, from 20 seeds.
func TestCapturesBroken(t *testing.T) {
	dir := need.Captures(t)
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAnonymizer(AnonymizeOptions{Key: panKey})
	if err != nil {
		t.Fatal(err)
	}
	var read, frames, tcps int
	for _, name := range files {
		file, err := os.ReadFile(name)
		if err != nil || filepath.Base(filepath.Dir(name)) == "truth" {
			continue
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		use := func(b []byte) {
			read++
			r, err := NewReader(bytes.NewReader(b), ReadOptions{})
			var f Frame
			var s Segment
			for err == nil {
				if err = r.Next(&f); err != nil {
					break
				}
				frames++
				if Decode(&f, &s) == TCP {
					tcps++
				}
				a.Frame(&f)
			}
			var format *FormatError
			if !errors.Is(err, io.EOF) && !errors.As(err, &format) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for i := range 64 {
			use(file[:len(file)*i/64])
		}
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, 1))
			b := bytes.Clone(file)
			for range len(b) / 50 {
				b[random.IntN(len(b))] = byte(random.Uint32())
			}
			use(b)
		}
		runtime.ReadMemStats(&after)
		if n := after.HeapSys; n > 512<<20 {
			t.Errorf("%s: the heap has %d bytes", name, n)
		}
	}
	t.Logf("%d files read, %d frames, %d with TCP", read, frames, tcps)
}

// TestCapturesWritten writes every external capture and reads it again.
func TestCapturesWritten(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(need.Captures(t), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if filepath.Base(filepath.Dir(name)) == "truth" {
			continue
		}
		r, err := Open(name, ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := readAll(t, r)
		var out bytes.Buffer
		w, err := NewWriter(&out, WriterOptions{Section: testSection, Interfaces: r.Interfaces()})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		for i := range want {
			if err := w.Write(&want[i], ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, readAll(t, openBytes(t, out.Bytes()))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		tshark(t, out.Bytes(), "capinfos")
	}
}
