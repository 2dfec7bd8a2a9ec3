package analysis_test

import (
	"bytes"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// TestNamesOfCaptures compares the names of each stream of external captures
// with the first that tshark finds in it.
func TestNamesOfCaptures(t *testing.T) {
	dir := need.Captures(t)
	need.Programs(t, "tshark")
	equal, missing, extra, different := 0, 0, 0, 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, filepath.Join(dir, "truth")) {
			return err
		}
		got, streams := ourNames(t, path)
		want := tsharkNames(t, path, streams)
		for stream, w := range want {
			g, known := got[stream]
			switch {
			case !known:
				missing++
				t.Logf("%s, stream %d: no name, tshark has %q", path, stream, w)
			case g != w:
				different++
				t.Logf("%s, stream %d: %q, tshark has %q", path, stream, g, w)
			default:
				equal++
			}
		}
		for stream, g := range got {
			if _, known := want[stream]; !known {
				extra++
				t.Logf("%s, stream %d: %q, tshark has none", path, stream, g)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d streams equal, %d without our name, %d without tshark's, %d different", equal, missing, extra, different)
	// tshark looks into SOCKS, STARTTLS and fragments, too.
	if all := equal + missing + extra + different; float64(equal) < 0.9*float64(all) {
		t.Errorf("%d of %d streams equal", equal, all)
	}
}

// wireNames is the name of a stream by TLS and by HTTP.
type wireNames struct{ sni, host string }

// ourNames returns the names of each stream, and the stream of each frame.
func ourNames(t *testing.T, path string) (names map[int]wireNames, streams map[int]int) {
	t.Helper()
	names, streams = make(map[int]wireNames), make(map[int]int)
	r, err := capture.Open(path, capture.ReadOptions{})
	if err != nil {
		return names, streams
	}
	defer r.Close()
	var (
		a *analysis.Analyzer
		f capture.Frame
		s capture.Segment
		p analysis.Packet
	)
	cfg := analysis.DefaultConfig()
	cfg.OnEnd = func(c *analysis.Conn) {
		if n := a.Names(c); n.SNI != "" || n.HTTPHost != "" {
			names[int(c.Stream)] = wireNames{n.SNI, n.HTTPHost}
		}
	}
	a = analysis.New(cfg)
	for r.Next(&f) == nil {
		if capture.Decode(&f, &s) == capture.TCP {
			a.Add(&s, &p)
			streams[int(f.Number)] = int(p.Stream)
		}
	}
	a.Flush()
	return names, streams
}

// tsharkNames asks tshark for the first ClientHello and the first request of
// each stream, as we number them: versions of tshark differ.
func tsharkNames(t *testing.T, path string, streams map[int]int) map[int]wireNames {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tshark", "-n", "-r", path, "-Y", "tcp && !icmp && !icmpv6 && (tls.handshake.type == 1 || http.host)",
		"-T", "fields", "-E", "occurrence=f", "-e", "frame.number", "-e", "tls.handshake.extensions_server_name", "-e", "http.host")
	out, _ := cmd.Output() // a broken file is read as far as it goes
	names := make(map[int]wireNames)
	seen := make(map[int]bool)
	for line := range bytes.Lines(out) {
		f := strings.Split(strings.TrimRight(string(line), "\n"), "\t")
		if len(f) != 3 {
			continue
		}
		frame, err := strconv.Atoi(f[0])
		stream, known := streams[frame]
		if err != nil || !known || seen[stream] {
			continue
		}
		seen[stream] = true
		if n := (wireNames{f[1], f[2]}); n != (wireNames{}) {
			names[stream] = n
		}
	}
	return names
}
