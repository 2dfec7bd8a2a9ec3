package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// recordedFrames are all frames of a recording.
func recordedFrames(tb testing.TB, dir string) []writtenFrame {
	tb.Helper()
	rec, err := capture.OpenRecording(dir)
	if err != nil {
		tb.Fatal(err)
	}
	found := rec.Find(capture.RecordQuery{})
	defer found.Close()
	var all []writtenFrame
	for {
		var f writtenFrame
		err := found.Next(&f.Frame)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			tb.Fatal(err)
		}
		f.Data = bytes.Clone(f.Data)
		f.tcp = capture.Decode(&f.Frame, &f.seg) == capture.TCP
		all = append(all, f)
	}
}

// sameFrames compares times, lengths and bytes.
func sameFrames(tb testing.TB, what string, got, want []writtenFrame) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%s: %d frames, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := &got[i], &want[i]
		if g.Time != w.Time || g.WireLen != w.WireLen || !bytes.Equal(g.Data, w.Data) {
			tb.Fatalf("%s: frame %d is another one", what, i+1)
		}
	}
}

// TestExport: what is exported of a recording is exactly the packets of the
// connections that were asked for, with their processes.
func TestExport(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	dir := t.TempDir()
	rec := filepath.Join(dir, "rec")
	p := capturingIn(t, ns, nil, "-i", "lo", "--record", rec)
	first, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 3, Send: 4000, Name: "firstclient"})
	second, ends := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 5, Send: 70_000, Name: "second client"})
	for _, c := range []*tcptest.Child{first, second} {
		if err := c.Call(tcptest.Op{Op: "close"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	var watched string
	for _, row := range rows(t, viewtcp(t, "list", "-o", "jsonl", "--netns", ns.Path(), "state", "listening")) {
		watched = text(row, "id")
	}
	waitABit()
	r := p.interrupt(t)
	if r.code != exitOK || !strings.Contains(r.stderr, " recorded, 0 dropped by the kernel") || r.stdout != "" {
		t.Fatalf("%v", r)
	}
	all := recordedFrames(t, rec)
	port := func(f *writtenFrame) uint16 { return f.seg.Tuple.LocalPort + f.seg.Tuple.RemotePort - at.Addr.Port() }
	of := func(want func(port uint16) bool) (some []writtenFrame) {
		for i := range all {
			if want(port(&all[i])) {
				some = append(some, all[i])
			}
		}
		return some
	}
	own := map[uint16]bool{}
	for _, e := range ends {
		own[e.Local.Port()] = true
	}
	one := ends[2].Local.Port()
	out := filepath.Join(dir, "out.pcapng")
	export := func(want int, args ...string) result {
		t.Helper()
		_ = os.Remove(out)
		r := inProcess(t, append([]string{"export", "--record-dir", rec, "-w", out}, args...)...)
		if r.code != want || r.stdout != "" {
			t.Fatalf("%q: %v", args, r)
		}
		return r
	}

	export(exitOK, "process", "second client")
	got := framesOf(t, out)
	sameFrames(t, "by process", got, of(func(p uint16) bool { return own[p] }))
	for i := range got {
		if want := fmt.Sprintf("process second client (pid %d), connection c", second.PID); !strings.Contains(got[i].Comment, want) {
			t.Errorf("frame %d: %q lacks %q", i+1, got[i].Comment, want)
		}
	}
	tshark(t, "-r", out, "-c", "1")
	export(exitOK, "--filter", "port "+strconv.Itoa(int(one)))
	sameFrames(t, "by port", framesOf(t, out), of(func(p uint16) bool { return p == one }))
	// The id stands in the comments.
	id := regexp.MustCompile(`connection (c[0-9a-v]{13})`).FindStringSubmatch(framesOf(t, out)[0].Comment)[1]
	if r := export(exitOK, id); !strings.Contains(r.stderr, "of 1 connection") {
		t.Errorf("%v", r)
	}
	sameFrames(t, "by id", framesOf(t, out), of(func(p uint16) bool { return p == one }))
	export(exitOK, "bytes_sent > 50KB and packets_received > 2")
	sameFrames(t, "by what packets show", framesOf(t, out), of(func(p uint16) bool { return own[p] }))
	export(exitOK)
	sameFrames(t, "everything", framesOf(t, out), all)
	middle := all[len(all)/2].Time
	export(exitOK, "--since", tcp.Stamp{Wall: middle}.Time().Format("2006-01-02T15:04:05.999999999Z"))
	var later []writtenFrame
	for i := range all {
		if all[i].Time >= middle {
			later = append(later, all[i])
		}
	}
	sameFrames(t, "since a moment", framesOf(t, out), later)

	for _, args := range [][]string{{"process", "nobody"}, {watched}, {"exe", "x"}, {"--until", "1h"}} {
		r := export(exitOK, args...)
		if !strings.Contains(r.stderr, "nothing recorded matches; the recording goes from ") {
			t.Errorf("%v", r)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q left a file: %v", args, err)
		}
		export(exitEmpty, append(args, "--fail-empty")...)
	}

	r = export(exitOK, "process", "firstclient", "--anonymize")
	got, want := framesOf(t, out), of(func(p uint16) bool { return !own[p] })
	if len(got) != len(want) {
		t.Errorf("anonymised: %d frames, want %d", len(got), len(want))
	}
	raw, err := os.ReadFile(out)
	if err != nil || bytes.Contains(raw, []byte("client")) || bytes.Contains(raw, []byte(id)) || bytes.Contains(raw, []byte("vie"+"wtcp: process")) {
		t.Errorf("names are left: %v, %v", err, r)
	}

	r = inProcess(t, "export", "--record-dir", rec, "-w", filepath.Join(rec, filesIn(t, rec, "*.pcapng")[0]))
	if r.code != exitUsage || !strings.Contains(r.stderr, "a file of the recording") {
		t.Errorf("%v", r)
	}
	r = inProcess(t, "export", "--record-dir", filepath.Join(dir, "none"), "-w", out)
	if r.code != exitFailure {
		t.Errorf("%v", r)
	}
}

func filesIn(tb testing.TB, dir, pattern string) []string {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no %s in %s: %v", pattern, dir, err)
	}
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}

// TestRecordPayload: payload reaches the disk only when it is asked for, and its
// export is warned of.
func TestRecordPayload(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	for _, snaplen := range []string{"0", "65535"} {
		dir := filepath.Join(t.TempDir(), "rec")
		p := capturingIn(t, ns, nil, "-i", "lo", "--record", dir, "-s", snaplen)
		client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 1, Send: 2000})
		if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
			t.Fatal(err)
		}
		waitABit()
		if r := p.interrupt(t); r.code != exitOK {
			t.Fatalf("%v", r)
		}
		payload := 0
		for _, f := range recordedFrames(t, dir) {
			payload += len(f.seg.Payload)
		}
		out := filepath.Join(dir, "..", "out.pcap")
		r := inProcess(t, "export", "--record-dir", dir, "-w", out)
		warned := strings.Contains(r.stderr, "the file holds payload")
		if r.code != exitOK || (payload > 0) != (snaplen != "0") || warned != (payload > 0) {
			t.Errorf("-s %s: %d bytes of payload recorded: %v", snaplen, payload, r)
		}
		r = inProcess(t, "export", "--record-dir", dir, "-w", out, "--headers-only")
		for _, f := range framesOf(t, out) {
			if at, n := int(f.seg.TCPOffset)+int(f.seg.HeaderLen), len(f.Data); n > at {
				t.Errorf("--headers-only: %d bytes behind the header", n-at)
			}
		}
		if r.code != exitOK || strings.Contains(r.stderr, "holds payload") {
			t.Errorf("%v", r)
		}
	}
}

// TestRecordCutOff: the kernel leaves out what the cut-off does, and every packet
// is accounted for.
func TestRecordCutOff(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	for _, tt := range []struct {
		name string
		args []string
		said string
	}{
		{"kernel", nil, " cut off by the kernel"},
		{"user space", []string{"port", strconv.Itoa(int(at.Addr.Port()))}, " cut off,"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "rec")
			p := capturingIn(t, ns, nil, append([]string{"-i", "lo", "--record", dir, "--cut-off", "10"}, tt.args...)...)
			before := wireCount(t, ns, "lo")
			client, _ := connectTo(t, ns, tcptest.ClientConfig{To: at.Addr, Count: 2, Send: 2 << 20})
			if err := client.Call(tcptest.Op{Op: "close"}, nil); err != nil {
				t.Fatal(err)
			}
			waitABit()
			r := p.interrupt(t)
			wire := wireCount(t, ns, "lo") - before
			var kernel, cut, recorded uint64
			for part := range strings.SplitSeq(r.stderr[strings.LastIndex(r.stderr, "viewtcp: ")+9:], ", ") {
				number, what, _ := strings.Cut(part, " ")
				n, _ := strconv.ParseUint(number, 10, 64)
				switch what {
				case "cut off by the kernel":
					kernel = n
				case "cut off":
					cut = n
				case "recorded":
					recorded = n
				}
			}
			if r.code != exitOK || recorded+cut+kernel != wire || !strings.Contains(r.stderr, tt.said) || recorded > 60 {
				t.Errorf("%d packets on the wire: %v", wire, r)
			}
			fins, syns := 0, 0
			for _, f := range recordedFrames(t, dir) {
				if f.seg.Flags&capture.FIN != 0 {
					fins++
				}
				if f.seg.Flags&capture.SYN != 0 {
					syns++
				}
			}
			if fins != 4 || syns != 4 {
				t.Errorf("%d SYNs and %d FINs are kept, want 4 of each", syns, fins)
			}
			e := inProcess(t, "export", "--record-dir", dir, "-w", filepath.Join(dir, "..", "x.pcap"))
			if e.code != exitOK || !strings.Contains(e.stderr, "after 10 packets of a direction most were cut off") {
				t.Errorf("%v", e)
			}
		})
	}
}
