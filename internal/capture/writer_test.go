package capture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// readAll reads everything; Data is copied.
func readAll(tb testing.TB, r *Reader) []Frame {
	tb.Helper()
	var all []Frame
	for {
		var f Frame
		err := r.Next(&f)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			tb.Fatal(err)
		}
		f.Data = bytes.Clone(f.Data)
		all = append(all, f)
	}
}

func openBytes(tb testing.TB, b []byte) *Reader {
	tb.Helper()
	r, err := NewReader(bytes.NewReader(b), ReadOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

var testSection = Section{Hardware: "a machine", OS: "Linux 6.18", Application: "ViewTCP test", Comments: []string{"first", "second"}}

func testInterfaces() []Interface {
	return []Interface{
		{Link: LinkEthernet, SnapLen: 128, Name: "eth0", Description: "uplink", OS: "Linux", Filter: "port 443", Comment: "sampled 1 in 1"},
		{Link: LinkRaw, Name: "tun0"},
	}
}

func testFrames() []Frame {
	e, v6 := ether(0x0800, segment4()), segment6()
	return []Frame{
		{Time: 1_700_000_000_123_456_789, Number: 1, Link: LinkEthernet, Data: e, WireLen: uint32(len(e)), Way: WayOut, Comment: "process curl"},
		{Time: 1_700_000_000_123_456_790, Number: 2, Link: LinkRaw, Interface: 1, Data: v6[:60], WireLen: 1500, Way: WayIn},
		{Time: 1_700_000_001_000_000_000, Number: 3, Link: LinkEthernet, Data: e[:61], WireLen: uint32(len(e))},
		{Time: 0, Number: 4, Link: LinkRaw, Interface: 1, Data: v6, WireLen: uint32(len(v6)), Comment: "naïve"},
	}
}

func writeNG(tb testing.TB) []byte {
	tb.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, WriterOptions{Section: testSection, Interfaces: testInterfaces()[:1]})
	if err != nil {
		tb.Fatal(err)
	}
	if id, err := w.AddInterface(&testInterfaces()[1]); id != 1 || err != nil {
		tb.Fatal(id, err)
	}
	for _, f := range testFrames() {
		comment := f.Comment
		f.Comment = ""
		if err := w.Write(&f, comment); err != nil {
			tb.Fatal(err)
		}
	}
	stats := InterfaceStats{Received: 10, Dropped: 1, FilterAccepted: 9, OSDropped: 2, Delivered: 4}
	if err := w.WriteStats(0, 1_700_000_002_000_000_000, &stats); err != nil {
		tb.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if w.Offset() != int64(out.Len()) {
		tb.Errorf("Offset = %d, %d bytes written", w.Offset(), out.Len())
	}
	return out.Bytes()
}

func TestWritePcapng(t *testing.T) {
	file := writeNG(t)
	r := openBytes(t, file)
	if diff := cmp.Diff(testFrames(), readAll(t, r)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Section{testSection}, r.Sections()); diff != "" {
		t.Error(diff)
	}
	want := testInterfaces()
	for i := range want {
		want[i].Resolution = 1_000_000_000
	}
	want[0].Stats = InterfaceStats{Received: 10, Dropped: 1, FilterAccepted: 9, OSDropped: 2, Delivered: 4}
	if diff := cmp.Diff(want, r.Interfaces(), cmp.AllowUnexported(Interface{}, clock{}), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".clock" }, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
}

func TestWritePcap(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, WriterOptions{Format: FormatPcap})
	if err != nil {
		t.Fatal(err)
	}
	var want []Frame
	for _, f := range testFrames() {
		if f.Link != LinkEthernet {
			continue
		}
		if err := w.Write(&f, "lost"); err != nil {
			t.Fatal(err)
		}
		f.Number, f.Way, f.Comment = uint64(len(want)+1), WayUnknown, ""
		want = append(want, f)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, readAll(t, openBytes(t, out.Bytes()))); diff != "" {
		t.Error(diff)
	}
	other := testFrames()[1]
	if err := w.Write(&other, ""); err == nil || !strings.Contains(err.Error(), "ETHERNET and RAW") {
		t.Errorf("a second link type: %v", err)
	}
	if _, err := NewWriter(io.Discard, WriterOptions{Format: FormatPcap, Interfaces: testInterfaces()}); err == nil {
		t.Error("two link types announced: no error")
	}
	early := testFrames()[0]
	early.Time = -1
	if err := w.Write(&early, ""); err == nil {
		t.Error("a time before 1970: no error")
	}
}

// failWriter takes a number of bytes.
type failWriter int

func (f *failWriter) Write(b []byte) (int, error) {
	if len(b) > int(*f) {
		return 0, io.ErrShortWrite
	}
	*f -= failWriter(len(b))
	return len(b), nil
}

func TestWriteErrors(t *testing.T) {
	room := failWriter(flushSize * 2)
	w, err := NewWriter(&room, WriterOptions{Interfaces: testInterfaces()})
	if err != nil {
		t.Fatal(err)
	}
	f := testFrames()[0]
	f.Interface = 9
	if err := w.Write(&f, ""); err == nil {
		t.Error("unknown interface: no error")
	}
	f.Interface = 1
	if err := w.Write(&f, ""); err == nil {
		t.Error("another link type: no error")
	}
	f.Interface, f.Data = 0, make([]byte, MaxFrame+1)
	if err := w.Write(&f, ""); err == nil {
		t.Error("too large: no error")
	}
	f.Data = f.Data[:60_000]
	for range 5 {
		err = w.Write(&f, "")
	}
	if !errors.Is(err, io.ErrShortWrite) || !errors.Is(w.Flush(), io.ErrShortWrite) {
		t.Errorf("after a failed write: %v, %v", err, w.Flush())
	}
}

// TestWriteText keeps text that is not UTF-8, or too long, within its option.
func TestWriteText(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, WriterOptions{Interfaces: testInterfaces()})
	if err != nil {
		t.Fatal(err)
	}
	f := testFrames()[0]
	for _, c := range []string{"\xff\x1b[31m", strings.Repeat("ä", 40_000), strings.Repeat("\xff ", 40_000)} {
		if err := w.Write(&f, c); err != nil {
			t.Fatal(err)
		}
	}
	f.Comment = ""
	if err := w.Write(&f, "\xff\x1b[31m"); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, openBytes(t, out.Bytes()))
	if len(got) != 4 || got[0].Comment != "process curl" || got[3].Comment != "\ufffd\x1b[31m" {
		t.Errorf("%d frames, comments %q and %q", len(got), got[0].Comment, got[len(got)-1].Comment)
	}
}

// tshark runs it, or capinfos, on a file and returns what it prints; anything
// on stderr but the notice about root is a warning.
func tshark(t *testing.T, file []byte, program string, args ...string) string {
	t.Helper()
	need.Programs(t, program)
	name := filepath.Join(t.TempDir(), "file.pcapng")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	c := exec.Command(program, append(args, name)...)
	c.Stdout, c.Stderr = &stdout, &stderr
	c.Env = append(os.Environ(), "LC_ALL=C", "HOME="+t.TempDir())
	err := c.Run()
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "Running as user") {
			t.Errorf("%s: %s", program, line)
		}
	}
	if err != nil {
		t.Errorf("%s: %v", program, err)
	}
	return stdout.String()
}

func TestWriteTshark(t *testing.T) {
	file := writeNG(t)
	got := tshark(t, file, "tshark", "-T", "fields", "-E", "separator=|", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "frame.comment", "-e", "tcp.seq_raw", "-r")
	want := "1700000000.123456789|71|71|eth0|2|process curl|1000\n" +
		"1700000000.123456790|1500|60|tun0|1||1000\n" +
		"1700000001.000000000|71|61|eth0|||1000\n" +
		"0.000000000|77|77|tun0||naïve|1000\n"
	got = strings.ReplaceAll(got, "0x00000002", "2")
	got = strings.ReplaceAll(got, "0x00000001", "1")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	info := tshark(t, file, "capinfos")
	for _, want := range []string{"ViewTCP test", "Linux 6.18", "first", "eth0", "uplink", "port 443", "nanoseconds", "Number of packets:   4"} {
		if !strings.Contains(info, want) {
			t.Errorf("capinfos does not tell %q:\n%s", want, info)
		}
	}
}
