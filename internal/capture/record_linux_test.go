package capture_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcptest"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// synthetic fills in a frame of connection i.
func synthetic(f *capture.Frame, s *capture.Segment, i int, at int64) {
	if f.Data == nil {
		b := make([]byte, 54+100)
		b[12], b[14], b[17], b[22], b[23] = 8, 0x45, 140, 64, 6
		copy(b[26:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
		binary.BigEndian.PutUint16(b[36:], 443)
		b[46], b[47] = 5<<4, byte(capture.ACK)
		*f = capture.Frame{Link: capture.LinkEthernet, Data: b, WireLen: uint32(len(b))}
	}
	binary.BigEndian.PutUint16(f.Data[34:], uint16(1024+i))
	f.Time = at
	capture.Decode(f, s)
}

func recorderConfig() capture.RecorderConfig {
	cfg := capture.DefaultRecorderConfig()
	cfg.Interfaces = []capture.Interface{{Name: "test0", Link: capture.LinkEthernet}}
	cfg.SegmentBytes = 256 << 10
	return cfg
}

// countFound reads everything that a recording has.
func countFound(tb testing.TB, dir string) (n uint64, commented []string) {
	tb.Helper()
	rec, err := capture.OpenRecording(dir)
	if err != nil {
		tb.Fatal(err)
	}
	found := rec.Find(capture.RecordQuery{})
	defer found.Close()
	var f capture.Frame
	for {
		err := found.Next(&f)
		if errors.Is(err, io.EOF) {
			return n, commented
		}
		if err != nil {
			tb.Fatal(err)
		}
		if f.Comment != "" {
			commented = append(commented, f.Comment)
		}
		n++
	}
}

// recorderRole records until it is killed, and tells what is on disk.
func recorderRole(c *tcptest.Control) error {
	var dir string
	if err := c.Recv(&dir); err != nil {
		return err
	}
	r, err := capture.NewRecorder(dir, recorderConfig())
	if err != nil {
		return err
	}
	var f capture.Frame
	var s capture.Segment
	at := time.Now().UnixNano()
	for i := 0; ; i++ {
		synthetic(&f, &s, i%50, at+int64(i)*1000)
		r.Add(&f, &s)
		if i%1000 == 999 {
			r.Tick(time.Unix(0, f.Time))
			if err := c.Send(r.Stats().Recorded); err != nil {
				return err
			}
		}
	}
}

func TestFaultRecorderKilled(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		before, _ := countFound(t, dir)
		child, err := tcptest.Launch("recorder", dir)
		if err != nil {
			t.Fatal(err)
		}
		var safe uint64
		for range 20 + 7*round {
			if err := child.Recv(&safe); err != nil {
				t.Fatal(err)
			}
		}
		if err := child.Kill(); err != nil {
			t.Fatal(err)
		}
		r, err := capture.NewRecorder(dir, recorderConfig())
		if err != nil {
			t.Fatal(err)
		}
		st := r.Stats()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		after, _ := countFound(t, dir)
		if after < before+safe {
			t.Errorf("%d packets, but %d were on disk before and %d more were flushed", after, before, safe)
		}
		if len(st.Repairs) == 0 || st.Segments < 2 {
			t.Errorf("%+v", st)
		}
		t.Logf("%d packets flushed, %d found; %+v", safe, after-before, st.Repairs)
	}
	sharkAll(t, dir)
}

// sharkAll opens segments, four at most, with tshark, which must find as many
// packets as their indexes say.
func sharkAll(tb testing.TB, dir string) {
	tb.Helper()
	need.Programs(tb, "tshark")
	rec, err := capture.OpenRecording(dir)
	if err != nil {
		tb.Fatal(err)
	}
	segs := rec.Segments()
	for i, s := range segs {
		if i >= 2 && i < len(segs)-2 {
			continue
		}
		if n := tsharkFrames(tb, filepath.Join(dir, s.Name)); s.Live || n != uint64(s.Packets) {
			tb.Errorf("tshark finds %d packets in %+v", n, s)
		}
	}
}

func TestFaultRecorderDiskFull(t *testing.T) {
	need.Root(t)
	disk := t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=2m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(disk, "packets")
	cfg := recorderConfig()
	r, err := capture.NewRecorder(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var f capture.Frame
	var s capture.Segment
	at := time.Now().UnixNano()
	add := func(n int) {
		for i := range n {
			at += 10_000
			synthetic(&f, &s, i%50, at)
			r.Add(&f, &s)
		}
	}
	add(30_000) // some 3 MB, in 0.3 s
	full := r.Stats()
	if !errors.Is(full.Err, unix.ENOSPC) || full.Since == 0 || full.Lost == 0 || full.Added != full.Recorded+full.Lost {
		t.Fatalf("%+v", full)
	}
	if n, _ := countFound(t, dir); n != full.Recorded {
		t.Errorf("%d packets on the full disk, %d recorded", n, full.Recorded)
	}
	// Room again: it goes on by itself, not at once.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	add(100)
	if st := r.Stats(); st.Recorded != full.Recorded || st.Err == nil {
		t.Errorf("it did not wait: %+v", st)
	}
	at += int64(cfg.Retry)
	add(5000)
	// What could not be sealed is sealed once no other segment is.
	for range 500 {
		if r.Tick(time.Unix(0, at)); r.Stats().SealErr == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	again := r.Stats()
	if again.Err != nil || again.SealErr != nil || again.Recorded != full.Recorded+5000 || again.Added != again.Recorded+again.Lost {
		t.Errorf("%+v", again)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	n, comments := countFound(t, dir)
	if n != again.Recorded {
		t.Errorf("%d packets found, %d recorded", n, again.Recorded)
	}
	if len(comments) != 1 || !strings.Contains(comments[0], "no space left") {
		t.Errorf("comments of the gap: %q", comments)
	}
	sharkAll(t, dir)
}

// TestRecorderLive records what a namespace really sends.
func TestRecorderLive(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	dir := t.TempDir()
	l := openLive(t, ns, func(c *capture.LiveConfig) { c.Interfaces, c.Snaplen = []string{"lo"}, 256 })
	cfg := recorderConfig()
	cfg.Interfaces = []capture.Interface{{Name: "lo", Link: l.Interfaces()[0].Link, SnapLen: 256}}
	r, err := capture.NewRecorder(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	out := collect(l, r.Add)
	tuple := stream(t, ns, ns, "127.0.0.1:0", 4<<20)
	stream(t, ns, ns, "127.0.0.1:0", 4<<20)
	c := finish(t, l, out)
	st := l.Stats()
	r.Drops(0, capture.InterfaceStats{Received: st.Received, OSDropped: st.Dropped})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if rs := r.Stats(); rs.Recorded != c.frames || rs.Lost != 0 {
		t.Errorf("%+v of %d frames", rs, c.frames)
	}
	sharkAll(t, dir)
	rec, err := capture.OpenRecording(dir)
	if err != nil {
		t.Fatal(err)
	}
	conns, err := rec.Connections(capture.RecordQuery{})
	if err != nil || len(conns) != 2 || (conns[0].Tuple != tuple && conns[0].Tuple != tuple.Reverse() &&
		conns[1].Tuple != tuple && conns[1].Tuple != tuple.Reverse()) {
		t.Errorf("%+v, %v, want %v", conns, err, tuple)
	}
}
