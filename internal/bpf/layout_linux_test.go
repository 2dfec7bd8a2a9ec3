//go:build 386 || amd64 || arm64

package bpf

import (
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// TestLayout holds the offsets of record.go against the structs that the
// programs write, as their object describes them.
func TestLayout(t *testing.T) {
	spec, err := loadCollector()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		size    int
		members map[string]int
	}{
		{"head", headSize, map[string]int{
			"size": offSize, "kind": offKind, "state": offState, "old": offOld, "family": offFamily,
			"role": offRole, "attr": offAttr, "reset": offReset, "flags": offFlags, "lport": offLPort,
			"rport": offRPort, "chrono": offChrono, "time": offTime, "cookie": offCookie,
			"opened": offOpened, "start": offStart, "cgroup": offCgroup, "netns": offNetNS,
			"uid": offUID, "inode": offInode, "pid": offPID, "handshake": offHandshake, "err": offErr,
			"a": offA, "b": offB, "comm": offComm, "laddr": offLAddr, "raddr": offRAddr,
		}},
		{"numbers", numbersSize, map[string]int{
			"bytes_sent": offBytesSent, "bytes_retrans": offBytesRetrans, "bytes_received": offBytesReceived,
			"pacing_rate": offPacingRate, "segs_out": offSegsOut, "segs_in": offSegsIn,
			"write_seq": offWriteSeq, "snd_una": offSndUna, "snd_nxt": offSndNxt, "rcv_nxt": offRcvNxt,
			"copied_seq": offCopiedSeq, "packets_out": offPacketsOut, "lost_out": offLostOut,
			"reordering": offReordering, "total_retrans": offTotalRetrans, "dsack_dups": offDSACKDups,
			"rcv_ooopack": offRcvOOOPack, "delivered_ce": offDeliveredCE, "srtt_us": offSRTT,
			"mdev_us": offMdev, "min_rtt_us": offMinRTT, "rto": offRTO, "mss_cache": offMSS,
			"pmtu": offPMTU, "snd_cwnd": offCWND, "snd_ssthresh": offSSThresh, "snd_wnd": offSndWnd,
			"rcv_wnd": offRcvWnd, "rate_delivered": offRateDelivered, "rate_interval_us": offRateInterval,
			"chrono_stat": offChronoStat, "chrono_run": offChronoRun, "cc": offCC, "recoveries": offRecoveries,
			"timeouts": offTimeouts, "ca_state": offCAState, "unused": offCAState + 1,
		}},
		{"record", recordSize, map[string]int{"h": 0, "n": headSize}},
		{"drops", 32, map[string]int{"closes": 0, "bytes_sent": 8, "bytes_received": 16, "events": 24}},
	} {
		var s *btf.Struct
		if err := spec.Types.TypeByName(tt.name, &s); err != nil {
			t.Fatal(err)
		}
		if int(s.Size) != tt.size {
			t.Errorf("struct %s has %d bytes, want %d", tt.name, s.Size, tt.size)
		}
		end := 0
		for _, m := range s.Members {
			want, ok := tt.members[m.Name]
			if !ok || int(m.Offset.Bytes()) != want {
				t.Errorf("%s.%s is at %d; record.go says %d (known: %v)", tt.name, m.Name, m.Offset.Bytes(), want, ok)
			}
			if int(m.Offset.Bytes()) != end {
				t.Errorf("%s.%s: padding before it at %d", tt.name, m.Name, end)
			}
			size, err := btf.Sizeof(m.Type)
			if err != nil {
				t.Fatal(err)
			}
			end = int(m.Offset.Bytes()) + size
		}
		if len(s.Members) != len(tt.members) || end != tt.size {
			t.Errorf("struct %s has %d members and ends at %d; want %d and %d",
				tt.name, len(s.Members), end, len(tt.members), tt.size)
		}
	}
}

// TestEnums holds the numbers of record.go against the enums of record.bpf.h.
func TestEnums(t *testing.T) {
	spec, err := loadCollector()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]uint64{
		"kind": {
			"KIND_SEEN": kindSeen, "KIND_MINI": kindMini, "KIND_LISTENER": kindListener,
			"KIND_ESTABLISHED": kindEstablished, "KIND_RETRANSMIT": kindRetransmit,
			"KIND_RESET": kindReset, "KIND_CLOSED": kindClosed, "KIND_UNLISTENED": kindUnlistened,
		},
		"role": {
			"ROLE_UNKNOWN": roleUnknown, "ROLE_CONNECTED": roleConnected,
			"ROLE_ACCEPTED": roleAccepted, "ROLE_LISTENER": roleListener,
		},
		"attribution": {
			"ATTR_UNKNOWN": uint64(tcp.AttributionUnknown), "ATTR_SCAN": uint64(tcp.AttributionScan),
			"ATTR_INHERITED": uint64(tcp.AttributionInherited), "ATTR_EXACT": uint64(tcp.AttributionExact),
			"ATTR_BUSY": 0xff,
		},
		"reset": {"RESET_SENT": resetSent, "RESET_RECEIVED": resetReceived},
		"flag": {
			"FLAG_FIN_RECEIVED": flagFINReceived, "FLAG_DEAD": flagDead,
			"FLAG_APP_LIMITED": flagAppLimited, "FLAG_NO_LINGER": flagNoLinger,
			"FLAG_AFTER_CLOSE": flagAfterClose, "FLAG_RCV_SHUTDOWN": flagRcvShutdown,
			"FLAG_UID": flagUID,
		},
	} {
		var e *btf.Enum
		if err := spec.Types.TypeByName(name, &e); err != nil {
			t.Errorf("enum %s: %v", name, err)
			continue
		}
		if len(e.Values) != len(want) {
			t.Errorf("enum %s has %d values, want %d", name, len(e.Values), len(want))
		}
		for _, v := range e.Values {
			if w, ok := want[v.Name]; !ok || w != v.Value {
				t.Errorf("%s is %d, record.go says %d", v.Name, v.Value, w)
			}
		}
	}
}
