package procfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// tail pads a line of net/tcp to the width that the kernel gives it.
const tail = "                     "

const heading4 = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode" + tail + tail + "\n"

const heading6 = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func tuple(local, remote string) tcp.Tuple {
	l, r := netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)
	return tcp.Tuple{
		Local: tcp.AddrFrom(l.Addr()), LocalPort: l.Port(),
		Remote: tcp.AddrFrom(r.Addr()), RemotePort: r.Port(),
	}
}

func TestTableRows(t *testing.T) {
	cmpRows := cmp.AllowUnexported(row{})
	for _, tt := range []struct {
		name            string
		ipv6, bigEndian bool
		line            string
		want            row
		mini            bool
	}{
		{
			name: "listener with two waiting",
			line: "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000002 00:00000000 00000000  1000        0 12345 2 0000000000000000 100 0 0 10 0" + tail,
			want: row{
				Tuple: tuple("127.0.0.1:8080", "0.0.0.0:0"), state: tcp.Listen, full: true, hasSSThresh: true,
				rx: 2, uid: 1000, inode: 12345, cwnd: 10,
			},
		},
		{
			name: "established in slow start",
			line: "   1: 0A0200C0:C350 056433C6:01BB 01 00000010:00000020 01:00000014 00000003     0        0 4294967295 1 (____ptrval____) 24 4 30 10 -1",
			want: row{
				Tuple: tuple("192.0.2.10:50000", "198.51.100.5:443"), state: tcp.Established, full: true,
				tx: 16, rx: 32, inode: 4294967295, cwnd: 10,
			},
		},
		{
			name:      "the same on a big-endian machine",
			bigEndian: true,
			line:      "   1: C000020A:C350 C6336405:01BB 01 00000010:00000020 01:00000014 00000003     0        0 4294967295 1 0000000000000000 24 4 30 10 7",
			want: row{
				Tuple: tuple("192.0.2.10:50000", "198.51.100.5:443"), state: tcp.Established, full: true, hasSSThresh: true,
				tx: 16, rx: 32, inode: 4294967295, cwnd: 10, ssthresh: 7,
			},
		},
		{
			name: "request socket",
			line: "   2: 0100007F:1F90 0100007F:C351 03 00000000:00000000 01:00000063 00000000  1000        0 0 0 0000000000000000",
			want: row{Tuple: tuple("127.0.0.1:8080", "127.0.0.1:50001"), state: tcp.SynRecv, uid: 1000},
			mini: true,
		},
		{
			name: "full socket in SYN_RECV, as with fast open",
			line: "   2: 0100007F:1F90 0100007F:C351 03 00000001:00000005 01:00000063 00000000  1000        0 0 0 0000000000000000 100 0 0 10 -1",
			want: row{Tuple: tuple("127.0.0.1:8080", "127.0.0.1:50001"), state: tcp.SynRecv, full: true, uid: 1000, tx: 1, rx: 5, cwnd: 10},
		},
		{
			name: "TIME_WAIT",
			line: "   3: 0100007F:1F90 0100007F:C352 06 00000000:00000000 03:00000F50 00000000     0        0 0 3 0000000000000000" + tail,
			want: row{Tuple: tuple("127.0.0.1:8080", "127.0.0.1:50002"), state: tcp.TimeWait},
			mini: true,
		},
		{
			name: "orphan in FIN_WAIT2",
			line: "   3: 0100007F:1F90 0100007F:C352 05 00000000:00000000 03:00000F50 00000000     0        0 0 3 0000000000000000",
			want: row{Tuple: tuple("127.0.0.1:8080", "127.0.0.1:50002"), state: tcp.FinWait2},
			mini: true,
		},
		{
			name: "tcp6",
			ipv6: true,
			line: "   0: B80D0120000000000000000001000000:0050 B80D0120000000000000000002000000:C000 08 00000000:00000001 00:00000000 00000000    33        0 777 1 0000000000000000 20 4 29 10 21",
			want: row{
				Tuple: tuple("[2001:db8::1]:80", "[2001:db8::2]:49152"), state: tcp.CloseWait, ipv6: true, full: true, hasSSThresh: true,
				rx: 1, uid: 33, inode: 777, cwnd: 10, ssthresh: 21,
			},
		},
		{
			name:      "tcp6 on a big-endian machine",
			ipv6:      true,
			bigEndian: true,
			line:      "   0: 20010DB8000000000000000000000001:0050 20010DB8000000000000000000000002:C000 08 00000000:00000001 00:00000000 00000000    33        0 777 1 0000000000000000 20 4 29 10 21",
			want: row{
				Tuple: tuple("[2001:db8::1]:80", "[2001:db8::2]:49152"), state: tcp.CloseWait, ipv6: true, full: true, hasSSThresh: true,
				rx: 1, uid: 33, inode: 777, cwnd: 10, ssthresh: 21,
			},
		},
		{
			name: "IPv4 peer of an IPv6 socket equals the IPv4 address",
			ipv6: true,
			line: "   0: 0000000000000000FFFF00000A0200C0:0050 0000000000000000FFFF0000056433C6:C000 01 00000000:00000000 00:00000000 00000000    33        0 778 1 0000000000000000 20 4 29 10 -1",
			want: row{
				Tuple: tuple("192.0.2.10:80", "198.51.100.5:49152"), state: tcp.Established, ipv6: true, full: true,
				uid: 33, inode: 778, cwnd: 10,
			},
		},
		{
			name: "inode beyond 32 bits is unknown, an old expiry is huge, later columns are for later readers",
			line: "99999: 0100007F:1F90 0100007F:C352 04 00000000:00000000 01:FFFFFFFFFFFFFF9C 00000000     0        0 4294967296 3 0000000000000000 1 2 3 4 5 6 7",
			want: row{
				Tuple: tuple("127.0.0.1:8080", "127.0.0.1:50002"), state: tcp.FinWait1, full: true, hasSSThresh: true,
				cwnd: 4, ssthresh: 5,
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := table{ipv6: tt.ipv6, bigEndian: tt.bigEndian}
			rows, rest := p.append(nil, []byte(heading4+tt.line+"\n"), true)
			if p.err != nil || len(rest) != 0 || len(rows) != 1 {
				t.Fatalf("%d rows, rest %q, err %v", len(rows), rest, p.err)
			}
			if diff := cmp.Diff(tt.want, rows[0], cmpRows); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
			if got := rows[0].mini(); got != tt.mini {
				t.Errorf("mini = %v", got)
			}
		})
	}
}

const goodLine = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0000000000000000 100 0 0 10 0\n"

func TestTableErrors(t *testing.T) {
	for _, tt := range []struct{ name, text, err string }{
		{"no heading", goodLine, "line 1, column 1: expected a heading with local_address"},
		{"garbage", heading4 + "hello\n", "line 2, column 1: expected a decimal digit"},
		{"short address", heading4 + "   0: 0100007:1F90\n", "line 2, column 14: expected a hexadecimal digit"},
		{"IPv6 address in tcp", heading4 + "   0: 00000000000000000000000001000000:0050\n", "line 2, column 15: expected a colon"},
		{"no such state", heading4 + strings.Replace(goodLine, " 0A ", " 7F ", 1), "line 2, column 5: expected a TCP state"},
		{"half of the columns of a full socket", heading4 + strings.Replace(goodLine, " 100 0 0 10 0", " 100 0", 1), "line 2, column 118: expected a blank"},
		{"huge number", heading4 + strings.Replace(goodLine, " 0 1 1 ", " 0 99999999999999999999 1 ", 1), "line 2, column 111: expected a number of at most 64 bits"},
		{"empty line", heading4 + "\n" + goodLine, "line 2, column 1: expected a decimal digit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p table
			// What is whole around the broken line is not lost.
			rows, _ := p.append(nil, []byte(tt.text+goodLine), true)
			if p.err == nil || p.err.Error() != tt.err {
				t.Errorf("err = %v, want %s", p.err, tt.err)
			}
			if len(rows) == 0 || p.bad == 0 {
				t.Errorf("%d rows, %d bad", len(rows), p.bad)
			}
		})
	}
}

// A file may end inside a line: the whole rows count, and the rest is not an error.
func TestTableCut(t *testing.T) {
	text := heading4 + goodLine + strings.TrimSuffix(goodLine, "\n")
	full := len(text)
	for end := len(heading4); end <= full; end++ {
		var p table
		rows, rest := p.append(nil, []byte(text[:end]), true)
		if p.err != nil || len(rest) != 0 {
			t.Fatalf("%d bytes: rest %q, err %v", end, rest, p.err)
		}
		body := end - len(heading4)
		if body >= len(goodLine) && len(rows) == 0 {
			t.Fatalf("%d bytes: no rows", end)
		}
		if len(rows) == 2 && p.cut {
			t.Fatalf("%d bytes: two rows and cut", end)
		}
	}
}

// The parser must not care where reads end.
func TestTablePieces(t *testing.T) {
	var text strings.Builder
	text.WriteString(heading4)
	rng := rand.New(rand.NewPCG(1, 2))
	var want []row
	for i := range 200 {
		r := randomRow(rng, false)
		want = append(want, r)
		text.WriteString(format(i, &r, bigEndian))
	}
	for _, size := range []int{1, 7, 100, 149, 150, 151, 4096} {
		p := table{bigEndian: bigEndian}
		var rows []row
		var pending []byte
		for in := []byte(text.String()); len(in) > 0; {
			n := min(size, len(in))
			pending = append(pending, in[:n]...)
			in = in[n:]
			var rest []byte
			rows, rest = p.append(rows, pending, len(in) == 0)
			pending = append([]byte(nil), rest...)
		}
		if p.err != nil {
			t.Fatal(p.err)
		}
		if diff := cmp.Diff(want, rows, cmp.AllowUnexported(row{})); diff != "" {
			t.Fatalf("pieces of %d bytes (-want +got):\n%s", size, diff)
		}
	}
}

func TestTableAllocs(t *testing.T) {
	text := bigTable(100)
	rows := make([]row, 0, 200)
	allocs := testing.AllocsPerRun(10, func() {
		p := table{bigEndian: bigEndian}
		rows, _ = p.append(rows[:0], text, true)
	})
	if allocs != 0 || len(rows) != 100 {
		t.Errorf("%v allocations for %d rows", allocs, len(rows))
	}
}

func randomRow(rng *rand.Rand, ipv6 bool) row {
	states := []tcp.State{tcp.Established, tcp.SynSent, tcp.FinWait1, tcp.CloseWait, tcp.LastAck, tcp.Listen, tcp.Closing}
	r := row{
		ipv6: ipv6, full: true, state: states[rng.IntN(len(states))],
		inode: rng.Uint32(), uid: rng.Uint32N(70000), tx: rng.Uint32(), rx: rng.Uint32(),
		cwnd: rng.Uint32N(1000),
	}
	if rng.IntN(2) == 0 {
		r.hasSSThresh, r.ssthresh = true, rng.Uint32()>>1
	}
	for _, a := range []*tcp.Addr{&r.Local, &r.Remote} {
		if ipv6 {
			for i := range a {
				a[i] = byte(rng.Uint32())
			}
		} else {
			*a = tcp.AddrFrom4([4]byte{192, 0, 2, byte(rng.Uint32())})
		}
	}
	r.LocalPort, r.RemotePort = uint16(rng.Uint32()), uint16(rng.Uint32())
	return r
}

// format prints a row as the kernel does.
func format(sl int, r *row, bigEndian bool) string {
	addr := func(a tcp.Addr) string {
		b := a[:]
		if !r.ipv6 {
			b = a[12:]
		}
		var s strings.Builder
		for ; len(b) > 0; b = b[4:] {
			if bigEndian {
				fmt.Fprintf(&s, "%08X", binary.BigEndian.Uint32(b))
			} else {
				fmt.Fprintf(&s, "%08X", binary.LittleEndian.Uint32(b))
			}
		}
		return s.String()
	}
	line := fmt.Sprintf("%4d: %s:%04X %s:%04X %02X %08X:%08X %02X:%08X %08X %5d %8d %d %d %016x",
		sl, addr(r.Local), r.LocalPort, addr(r.Remote), r.RemotePort, uint8(r.state), r.tx, r.rx, 0, 0, 0, r.uid, 0, r.inode, 1, 0)
	if r.full {
		ssthresh := "-1"
		if r.hasSSThresh {
			ssthresh = fmt.Sprint(r.ssthresh)
		}
		line += fmt.Sprintf(" %d %d %d %d %s", 20, 4, 30, r.cwnd, ssthresh)
	}
	return fmt.Sprintf("%-149s\n", line)
}

func bigTable(n int) []byte {
	rng := rand.New(rand.NewPCG(3, 4))
	var b bytes.Buffer
	b.WriteString(heading4)
	for i := range n {
		r := randomRow(rng, false)
		b.WriteString(format(i, &r, bigEndian))
	}
	return b.Bytes()
}

// FuzzTCPTable: any input parses without a panic, in one piece or two alike, and
// a row that parsed prints to a line that parses to the same row.
func FuzzTCPTable(f *testing.F) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, ipv6 := range []bool{false, true} {
		text := heading4
		if ipv6 {
			text = heading6
		}
		for i := range 3 {
			r := randomRow(rng, ipv6)
			text += format(i, &r, bigEndian)
		}
		f.Add([]byte(text), ipv6, false, uint(100))
		f.Add([]byte(text[:len(text)-40]), ipv6, true, uint(200))
	}
	f.Add([]byte(heading4+goodLine), false, false, uint(0))
	f.Fuzz(func(t *testing.T, data []byte, ipv6, bigEndian bool, at uint) {
		p := table{ipv6: ipv6, bigEndian: bigEndian}
		rows, rest := p.append(nil, data, true)
		if len(rest) != 0 {
			t.Fatalf("rest %q", rest)
		}
		if n := bytes.Count(data, []byte{'\n'}) + 1; len(rows)+p.bad > n {
			t.Fatalf("%d rows and %d bad lines of %d", len(rows), p.bad, n)
		}
		if (p.err != nil) != (p.bad > 0) {
			t.Fatalf("%d bad, err %v", p.bad, p.err)
		}
		cut := int(at % uint(len(data)+1))
		q := table{ipv6: ipv6, bigEndian: bigEndian}
		again, left := q.append(nil, data[:cut], false)
		again, _ = q.append(again, append(bytes.Clone(left), data[cut:]...), true)
		if diff := cmp.Diff(rows, again, cmp.AllowUnexported(row{})); diff != "" {
			t.Fatalf("cut at %d (-whole +cut):\n%s", cut, diff)
		}
		for i := range rows {
			r := &rows[i]
			p := table{ipv6: ipv6, bigEndian: bigEndian}
			out, _ := p.append(nil, []byte(heading4+format(i, r, bigEndian)), true)
			if p.err != nil || len(out) != 1 || out[0] != *r {
				t.Fatalf("%+v printed parses as %+v: %v", *r, out, p.err)
			}
		}
	})
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			text := bigTable(n)
			var rows []row
			b.ReportAllocs()
			for b.Loop() {
				p := table{bigEndian: bigEndian}
				rows, _ = p.append(rows[:0], text, true)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
		})
	}
}
