package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// TestExportTruth writes out single streams of real captures: they must be the
// frames that Wireshark counts to them, unchanged. VIEWTCP_CAPTURES names the
// directory of captures with the truth about them.
func TestExportTruth(t *testing.T) {
	dir := need.Captures(t)
	streams := truthStreams(t, dir)
	files, compared := 0, 0
	for _, file := range slices.Sorted(maps.Keys(streams)) {
		path := filepath.Join(dir, strings.Replace(file, "@", "/", 1))
		original, whole := allFrames(path)
		if !whole {
			continue // broken captures end wherever a reader gives up
		}
		files++
		for _, s := range streams[file] {
			out := filepath.Join(t.TempDir(), "stream.pcapng")
			r := inProcess(t, "analyze", path, "--stream", strconv.Itoa(s.Stream), "-w", out)
			if r.code != exitOK {
				t.Errorf("%s: %v", file, r)
				continue
			}
			got, _ := allFrames(out)
			want := frameList(t, s.Frames)
			if len(got) != len(want) {
				t.Errorf("%s, stream %d: %d frames, want %d", file, s.Stream, len(got), len(want))
				continue
			}
			for i, n := range want {
				o := original[n-1]
				if !bytes.Equal(got[i].Data, o.Data) || got[i].Time != o.Time || got[i].WireLen != o.WireLen {
					t.Errorf("%s, stream %d: frame %d differs", file, s.Stream, n)
					break
				}
			}
			compared++
		}
	}
	t.Logf("%d streams of %d captures", compared, files)
	if files < 20 || compared < 100 {
		t.Errorf("only %d streams of %d captures were compared", compared, files)
	}
}

// truthStream is one stream as Wireshark counts it.
type truthStream struct {
	File      string `json:"file"`
	Stream    int    `json:"stream"`
	Ambiguous bool   `json:"ambiguous"`
	InICMP    int    `json:"in_icmp"`
	NoLen     int    `json:"no_len"`
	Fragments bool   `json:"ipfrag"`
	Frames    string `json:"frames"`
}

// truthStreams returns a few streams of each file. Left out are files where
// Wireshark leaves numbers out: its dissectors of proxy protocols use them up for
// connections that the capture does not have.
func truthStreams(tb testing.TB, dir string) map[string][]truthStream {
	tb.Helper()
	f, err := os.Open(filepath.Join(dir, "truth", "streams.jsonl.gz"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	streams := make(map[string][]truthStream)
	next := make(map[string]int)
	for d := json.NewDecoder(z); ; {
		var s truthStream
		err := d.Decode(&s)
		if errors.Is(err, io.EOF) {
			for file, n := range next {
				if n < 0 {
					delete(streams, file)
				}
			}
			return streams
		}
		if err != nil {
			tb.Fatal(err)
		}
		switch n := next[s.File]; {
		case n == s.Stream:
			next[s.File]++
		case n >= 0:
			next[s.File] = -1
		}
		if s.Ambiguous || s.InICMP > 0 || s.NoLen > 0 || s.Fragments || len(streams[s.File]) >= 4 {
			continue
		}
		streams[s.File] = append(streams[s.File], s)
	}
}

// frameList reads "1-3,7".
func frameList(tb testing.TB, text string) (list []int) {
	tb.Helper()
	for part := range strings.SplitSeq(text, ",") {
		from, to, is := strings.Cut(part, "-")
		if !is {
			to = from
		}
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		if errA != nil || errB != nil || b < a {
			tb.Fatalf("frames %q", text)
		}
		for n := a; n <= b; n++ {
			list = append(list, n)
		}
	}
	return list
}

// allFrames reads a capture; whole is false when it is broken.
func allFrames(path string) (frames []capture.Frame, whole bool) {
	r, err := capture.Open(path, capture.ReadOptions{})
	if err != nil {
		return nil, false
	}
	defer r.Close()
	var f capture.Frame
	for {
		if err := r.Next(&f); err != nil {
			return frames, errors.Is(err, io.EOF)
		}
		c := f
		c.Data = bytes.Clone(f.Data)
		frames = append(frames, c)
	}
}
