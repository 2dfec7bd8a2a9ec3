package sockdiag

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/netns"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// TestRecord records what the fixtures are made of; with -update it becomes them.
func TestRecord(t *testing.T) {
	n := tcptest.NewNetNS(t)
	tcptest.States(t, n)
	c, err := dial(namespace(t, n), unix.NETLINK_SOCK_DIAG, newReceiver(1, dumpBuffer))
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.send(tcpDiagGetSock, nlDump, appendBothRequest(nil, extInfo|extCong, allStates)); err != nil {
		t.Fatal(err)
	}
	var dump []byte
	for done := false; !done; {
		b, err := c.next()
		if err != nil {
			t.Fatal(err)
		}
		dump = append(dump, b...)
		_ = eachMessage(b, func(h nlHeader, _ []byte) { done = done || h.typ == nlDone || h.typ == nlError })
	}
	record(t, "dump.bin", dump)

	var closes []byte
	within(t, func(netns.Namespace) {
		e, err := hear(1<<20, false)
		if err != nil {
			t.Fatal(err)
		}
		defer e.close()
		notConnections(t)
		l, at := listenOn(t, &loopback4, unix.AF_INET, nil)
		for _, linger := range []bool{false, true} {
			client, server := connectTo(t, l, at, unix.AF_INET, nil)
			if _, err := unix.Write(client.fd, []byte("question")); err != nil {
				t.Fatal(err)
			}
			if linger {
				l := unix.Linger{Onoff: 1}
				if err := unix.SetsockoptLinger(client.fd, unix.SOL_SOCKET, unix.SO_LINGER, &l); err != nil {
					t.Fatal(err)
				}
			}
			client.close()
			server.close()
		}
		l.close()
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			got, err := e.receive(false)
			if errors.Is(err, unix.EAGAIN) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				b, _, err := e.in.datagram(i)
				if err != nil {
					t.Fatal(err)
				}
				closes = append(closes, b...)
			}
		}
	})
	record(t, "closes.bin", closes)
}

func record(t *testing.T, name string, b []byte) {
	t.Helper()
	if len(b) == 0 {
		t.Fatalf("%s: nothing was recorded", name)
	}
	if err := eachMessage(b, func(nlHeader, []byte) {}); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !*update {
		return
	}
	if err := os.WriteFile(filepath.Join("testdata", name), b, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d bytes", name, len(b))
}

// TestTCPInfoOffsets holds the offsets against the structure of x/sys, which is
// generated from the kernel's header.
func TestTCPInfoOffsets(t *testing.T) {
	var i unix.TCPInfo
	for _, tt := range []struct {
		name      string
		got, want uintptr
	}{
		{"rto", infoRTO, unsafe.Offsetof(i.Rto)},
		{"snd_mss", infoSndMSS, unsafe.Offsetof(i.Snd_mss)},
		{"unacked", infoUnacked, unsafe.Offsetof(i.Unacked)},
		{"lost", infoLost, unsafe.Offsetof(i.Lost)},
		{"pmtu", infoPMTU, unsafe.Offsetof(i.Pmtu)},
		{"rtt", infoRTT, unsafe.Offsetof(i.Rtt)},
		{"rttvar", infoRTTVar, unsafe.Offsetof(i.Rttvar)},
		{"snd_ssthresh", infoSndSSThresh, unsafe.Offsetof(i.Snd_ssthresh)},
		{"snd_cwnd", infoSndCWND, unsafe.Offsetof(i.Snd_cwnd)},
		{"reordering", infoReordering, unsafe.Offsetof(i.Reordering)},
		{"total_retrans", infoTotalRetrans, unsafe.Offsetof(i.Total_retrans)},
		{"pacing_rate", infoPacingRate, unsafe.Offsetof(i.Pacing_rate)},
		{"bytes_acked", infoBytesAcked, unsafe.Offsetof(i.Bytes_acked)},
		{"bytes_received", infoBytesRecv, unsafe.Offsetof(i.Bytes_received)},
		{"segs_out", infoSegsOut, unsafe.Offsetof(i.Segs_out)},
		{"segs_in", infoSegsIn, unsafe.Offsetof(i.Segs_in)},
		{"notsent_bytes", infoNotSent, unsafe.Offsetof(i.Notsent_bytes)},
		{"min_rtt", infoMinRTT, unsafe.Offsetof(i.Min_rtt)},
		{"delivery_rate", infoDelivery, unsafe.Offsetof(i.Delivery_rate)},
		{"busy_time", infoBusy, unsafe.Offsetof(i.Busy_time)},
		{"rwnd_limited", infoRwndLimited, unsafe.Offsetof(i.Rwnd_limited)},
		{"sndbuf_limited", infoSndbuf, unsafe.Offsetof(i.Sndbuf_limited)},
		{"delivered_ce", infoDeliveredCE, unsafe.Offsetof(i.Delivered_ce)},
		{"bytes_sent", infoBytesSent, unsafe.Offsetof(i.Bytes_sent)},
		{"bytes_retrans", infoBytesRetrans, unsafe.Offsetof(i.Bytes_retrans)},
		{"dsack_dups", infoDSACKDups, unsafe.Offsetof(i.Dsack_dups)},
		{"rcv_ooopack", infoRcvOOOPack, unsafe.Offsetof(i.Rcv_ooopack)},
		{"snd_wnd", infoSndWnd, unsafe.Offsetof(i.Snd_wnd)},
		{"rcv_wnd", infoRcvWnd, unsafe.Offsetof(i.Rcv_wnd)},
	} {
		if tt.got != tt.want {
			t.Errorf("%s is at %d, not %d", tt.name, tt.want, tt.got)
		}
	}
}
