package sockdiag

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// fixture reads datagrams as the kernel sent them, one after the other.
func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// eachMessage calls fn for every message of datagrams.
func eachMessage(b []byte, fn func(h nlHeader, body []byte)) error {
	for len(b) > 0 {
		h, body, rest, err := cutMessage(b)
		if err != nil {
			return err
		}
		fn(h, body)
		b = rest
	}
	return nil
}

// text prints what an observation says, for golden files.
func text(tb testing.TB, o *tcp.Observation) string {
	tb.Helper()
	row := tcptest.RowOfObservation(o)
	for key, set := range map[string]bool{"mini": o.Mini, "was_listening": o.WasListening, "inexact": o.Inexact} {
		if set {
			row[key] = true
		}
	}
	b, err := json.Marshal(row)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b) + "\n"
}

// TestFixtures holds what is read from recorded messages against a golden file.
func TestFixtures(t *testing.T) {
	tests := []struct {
		name string
		read func(m *diagMessage, o *tcp.Observation) bool
	}{
		{"dump", func(m *diagMessage, o *tcp.Observation) bool { m.observe(o, true); return true }},
		{"closes", func(m *diagMessage, o *tcp.Observation) bool { return m.observeDestroyed(o, nil) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got strings.Builder
			err := eachMessage(fixture(t, tt.name+".bin"), func(h nlHeader, body []byte) {
				if h.typ == nlDone {
					return
				}
				var (
					m diagMessage
					o tcp.Observation
				)
				if err := m.parse(body); err != nil {
					t.Fatal(err)
				}
				if !tt.read(&m, &o) {
					got.WriteString("no connection\n")
					return
				}
				got.WriteString(text(t, &o))
			})
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", tt.name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCutMessage(t *testing.T) {
	whole := appendMessage(nil, 20, 1, 7, []byte("12345"))
	if len(whole) != 21 {
		t.Fatalf("message of %d bytes", len(whole))
	}
	h, body, rest, err := cutMessage(whole)
	if err != nil || h != (nlHeader{typ: 20, flags: 1, seq: 7}) || string(body) != "12345" || len(rest) != 0 {
		t.Errorf("got %+v %q %q %v", h, body, rest, err)
	}
	two := append(append(bytes.Clone(whole), 0, 0, 0), whole...)
	if _, _, rest, err := cutMessage(two); err != nil || !bytes.Equal(rest, whole) {
		t.Errorf("rest %q, %v", rest, err)
	}
	for n := range len(whole) {
		if _, _, _, err := cutMessage(whole[:n]); !errors.Is(err, errTruncated) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, length := range []uint32{0, 15, 22, 1 << 31, 1<<32 - 1} {
		bad := bytes.Clone(whole)
		binary.NativeEndian.PutUint32(bad, length)
		if _, _, _, err := cutMessage(bad); !errors.Is(err, errTruncated) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

func TestStatus(t *testing.T) {
	code := func(n int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }
	tests := []struct {
		typ  uint16
		body []byte
		want int64
		err  error
	}{
		{nlError, code(0), 0, nil},
		{nlError, code(-2), 2, nil},
		{nlDone, code(0), 0, nil},
		{nlDone, code(-22), 22, nil},
		{nlDone, code(300), 0, nil},
		{nlDone, nil, 0, nil},
		{nlError, nil, 0, errTruncated},
		{nlError, code(-1 << 31), 1 << 31, nil},
	}
	for _, tt := range tests {
		errno, err := status(tt.typ, tt.body)
		if int64(errno) != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("status(%d, %v) = %d, %v", tt.typ, tt.body, errno, err)
		}
	}
}

// TestParseBroken makes sure that lengths which lie are refused.
func TestParseBroken(t *testing.T) {
	var m diagMessage
	attr := func(n, typ uint16, value ...byte) []byte {
		b := binary.NativeEndian.AppendUint16(nil, n)
		return append(binary.NativeEndian.AppendUint16(b, typ), value...)
	}
	msg := func(family byte, attrs ...byte) []byte {
		b := make([]byte, diagMsgLen)
		b[0], b[1] = family, byte(tcp.Established)
		return append(b, attrs...)
	}
	tests := []struct {
		name string
		body []byte
		want error
	}{
		{"empty", nil, errTruncated},
		{"short", msg(afInet)[:diagMsgLen-1], errTruncated},
		{"family", msg(1), errFamily},
		{"attribute beyond the end", msg(afInet6, attr(9, diagInfo, 1, 2, 3, 4)...), errTruncated},
		{"attribute shorter than its header", msg(afInet6, attr(3, diagInfo, 1, 2, 3, 4)...), errTruncated},
		{"protocol", msg(afInet, attr(5, diagProtocol, 17, 0, 0, 0)...), errProtocol},
		{"protocol of no size", msg(afInet, attr(4, diagProtocol)...), errTruncated},
		{"TCP", msg(afInet, attr(5, diagProtocol, ipprotoTCP, 0, 0, 0)...), nil},
		{"unknown attribute", msg(afInet, attr(5, 0x3fff, 1)...), nil},
		{"nested flag", msg(afInet, attr(5, 0x8000|diagProtocol, ipprotoTCP)...), nil},
		{"trailing bytes", msg(afInet, 1, 2, 3), nil},
	}
	for _, tt := range tests {
		if err := m.parse(tt.body); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

// TestSockID makes sure that an identity survives its way through a request.
func TestSockID(t *testing.T) {
	v6 := tcp.Addr{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 1} // RFC 3849
	v4 := tcp.AddrFrom4([4]byte{192, 0, 2, 1})                // RFC 5737
	tests := []struct {
		tuple  tcp.Tuple
		family uint8
	}{
		{tcp.Tuple{Local: v4, Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 2}), LocalPort: 443, RemotePort: 60000}, afInet},
		{tcp.Tuple{Local: v6, Remote: tcp.Addr{15: 1}, LocalPort: 22, RemotePort: 1}, afInet6},
		{tcp.Tuple{Local: v4, LocalPort: 22}, afInet},
		{tcp.Tuple{LocalPort: 22}, afInet6},
	}
	for _, tt := range tests {
		const cookie = 0x0123456789abcdef
		family, id := makeSockID(tt.tuple, cookie)
		if family != tt.family || id.cookie() != cookie {
			t.Errorf("%+v: family %d, cookie %#x", tt.tuple, family, id.cookie())
		}
		m := diagMessage{family: family, id: &id}
		got := m.tuple()
		if got.Remote.IsUnspecified() {
			got.Remote = tt.tuple.Remote // 0.0.0.0 and :: are the same to nobody but us
		}
		if got != tt.tuple {
			t.Errorf("%+v came back as %+v", tt.tuple, got)
		}
		if r := appendRequest(nil, family, extInfo, allStates, &id); len(r) != 56 {
			t.Errorf("struct inet_diag_req_v2 of %d bytes", len(r))
		}
	}
	if r := appendBothRequest(nil, extInfo, allStates); len(r) != 60 {
		t.Errorf("struct inet_diag_req of %d bytes", len(r))
	}
}

func TestKernelVersion(t *testing.T) {
	tests := []struct {
		release string
		want    [2]int
	}{
		{"6.18.44-fc", [2]int{6, 18}},
		{"6.17", [2]int{6, 17}},
		{"5.10.0-21-amd64", [2]int{5, 10}},
		{"7", [2]int{7, 0}},
		{"4.19-rc1", [2]int{4, 19}},
		{"", [2]int{}},
		{"x.y", [2]int{}},
	}
	for _, tt := range tests {
		if got := kernelVersion(tt.release); got != tt.want {
			t.Errorf("%q: %v, want %v", tt.release, got, tt.want)
		}
	}
}

func TestNSID(t *testing.T) {
	if b := appendNSIDGet(nil, 5); len(b) != 12 {
		t.Errorf("request of %d bytes", len(b))
	}
	minusOne := int32(noNSID)
	tests := []struct {
		name string
		body []byte
		want int32
		err  error
	}{
		{"id", appendAttribute32(make([]byte, 4), netnsaNSID, 17), 17, nil},
		{"among others", appendAttribute32(appendAttribute32(make([]byte, 4), 5, 3), netnsaNSID, 0), 0, nil},
		{"none", appendAttribute32(make([]byte, 4), netnsaNSID, uint32(minusOne)), noNSID, nil},
		{"no attribute", make([]byte, 4), noNSID, nil},
		{"short", make([]byte, 3), 0, errTruncated},
		{"cut attribute", appendAttribute32(make([]byte, 4), netnsaNSID, 17)[:11], 0, errTruncated},
		{"attribute of another size", []byte{0, 0, 0, 0, 6, 0, netnsaNSID, 0, 1, 0}, 0, errTruncated},
	}
	for _, tt := range tests {
		got, err := parseNSID(tt.body)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %d, %v", tt.name, got, err)
		}
	}
}

// TestDirection covers what byte counts say of who opened a connection.
func TestDirection(t *testing.T) {
	tests := []struct {
		name    string
		state   tcp.State
		sent    uint64
		acked   uint64
		unacked uint32
		retrans uint32
		want    tcp.Direction
	}{
		{"client", tcp.Established, 100, 101, 0, 0, tcp.Outbound},
		{"server", tcp.Established, 100, 100, 0, 0, tcp.Inbound},
		{"idle client", tcp.Established, 0, 1, 0, 0, tcp.Outbound},
		{"in flight", tcp.Established, 100, 100, 1, 0, tcp.DirectionUnknown},
		{"retransmitted", tcp.Established, 100, 100, 0, 1, tcp.DirectionUnknown},
		{"neither", tcp.Established, 100, 50, 0, 0, tcp.DirectionUnknown},
		{"FIN sent", tcp.FinWait2, 100, 101, 0, 0, tcp.DirectionUnknown},
		{"connecting", tcp.SynSent, 0, 0, 1, 3, tcp.Outbound},
	}
	for _, tt := range tests {
		o := tcp.Observation{State: tt.state, Has: tcp.HasBytesSent}
		o.Metrics.BytesSent, o.Metrics.Unacked, o.Metrics.Retransmits = tt.sent, tt.unacked, tt.retrans
		if got := direction(&o, tt.acked); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for _, name := range []string{"dump.bin", "closes.bin"} {
		b := fixture(f, name)
		f.Add(b)
		for i := range 8 {
			f.Add(b[:len(b)*i/8])
		}
		_ = eachMessage(b, func(_ nlHeader, body []byte) { f.Add(appendMessage(nil, sockDiagByFamily, 0, 1, body)) })
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		consumed := 0
		_ = eachMessage(b, func(h nlHeader, body []byte) {
			consumed += nlHeaderLen + len(body)
			_, _ = status(h.typ, body)
			_, _ = parseNSID(body)
			var m diagMessage
			if m.parse(body) != nil {
				return
			}
			var o tcp.Observation
			m.observe(&o, false)
			checkMetrics(t, o.Has, &o.Metrics)
			if o.Mini && o.Has&^(tcp.HasCookie|tcp.HasInode) != 0 {
				t.Errorf("mini socket with %#x", uint64(o.Has))
			}
			set := newKnownSet()
			_, k, _ := set.note(&o, 1)
			for _, k := range []*known{nil, k} {
				end := tcp.Observation{}
				if m.observeDestroyed(&end, k) && !end.WasListening {
					checkMetrics(t, end.Has, &end.Metrics)
				}
			}
		})
		if consumed > len(b) {
			t.Errorf("%d bytes of %d", consumed, len(b))
		}
	})
}
