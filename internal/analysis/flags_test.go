package analysis

import (
	"testing"
)

// open is a handshake of 10 ms with window scaling by 2, seen at the client.
const open = `
	0  > S 0       win 5000 mss 1460 ws 1   ; none stream=0 from=initiator window=5000
	10 < S. 0 ack 1 win 4000 mss 1400 ws 2  ; none rtt=10 from=responder
	10.1 > . 1 ack 1 win 2500               ; none rtt=0.1 window=5000
`

// noScale is the same without window scaling.
const noScale = `
	0  > S 0 win 5000
	10 < S. 0 ack 1 win 4000
	10.1 > . 1 ack 1 win 5000
`

// TestFlags has the definitions of Wireshark 4.4, a script each.
func TestFlags(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"undisturbed", open + `
			20 > P. 1:100 ack 1                    ; none flight=100
			21 > P. 101:100 ack 1                  ; none flight=200
			30 < . 1 ack 201 win 1000              ; none rtt=9 window=4000
			31 < P. 1:50 ack 201 win 1000          ; none flight=50
			32 > . 201 ack 51 win 2500             ; none rtt=1
			40 > F. 201 ack 51 win 2500            ; none
			50 < F. 51 ack 202 win 1000            ; none rtt=10
			51 > . 202 ack 52 win 2500             ; none rtt=1`},
		{"zero window, probe, its answer and the window's update", noScale + `
			20 > P. 1:100 ack 1 win 5000           ; none
			30 < . 1 ack 101 win 0                 ; zero_window
			230 > . 101:1 ack 1 win 5000           ; zero_window_probe v=new why=probe_of_a_closed_window
			240 < . 1 ack 101 win 0                ; zero_window+zero_window_probe_ack
			440 > . 101:1 ack 1 win 5000           ; zero_window_probe
			450 < . 1 ack 101 win 3000             ; window_update
			451 > P. 101:200 ack 1 win 5000        ; none v=new`},
		{"a probe whose byte is taken", noScale + `
			30 < . 1 ack 1 win 0                   ; zero_window
			230 > . 1:1 ack 1 win 5000             ; zero_window_probe
			240 < . 1 ack 2 win 0                  ; zero_window+zero_window_probe_ack
			440 > . 2:1 ack 1 win 5000             ; zero_window_probe
			450 < . 1 ack 3 win 3000               ; window_update
			451 > P. 3:10 ack 1 win 5000           ; none`},
		{"segment lost before the capture", open + `
			20 > P. 1:100 ack 1                    ; none
			21 > P. 201:100 ack 1                  ; lost_segment flight=0
			22 > P. 301:100 ack 1                  ; none flight=0
			30 < . 1 ack 401                       ; ack_lost_segment
			31 > P. 401:100 ack 1                  ; none flight=100`},
		{"acknowledgement of what was not seen", open + `
			20 > P. 1:100 ack 1                    ; none
			30 < . 1 ack 501                       ; ack_lost_segment
			31 < . 1 ack 501 win 1000              ; duplicate_ack dup=1`},
		{"acknowledgement below what was seen beyond a gap", open + `
			20 > P. 1:100 ack 1                    ; none
			21 > P. 201:100 ack 1                  ; lost_segment
			30 < . 1 ack 201                       ; ack_lost_segment
			31 < . 1 ack 301                       ; none`},
		{"keep-alive and its answer", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			30 < . 1 ack 101 win 1000              ; none
			1030 > . 100 ack 1 win 2500            ; keep_alive v=new why=keep-alive
			1040 < . 1 ack 101 win 1000            ; keep_alive_ack
			2040 > . 100:1 ack 1 win 2500          ; keep_alive v=new why=keep-alive
			2050 < . 1 ack 101 win 1000            ; keep_alive_ack`},
		{"a segment that begins with the byte of a keep-alive is new", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			30 < . 1 ack 101 win 1000              ; none
			40 > P. 100:50 ack 1 win 2500          ; none`},
		{"window update", open + `
			20 > . 1 ack 1 win 2600                ; window_update
			21 > . 1 ack 1 win 2600                ; duplicate_ack dup=1
			22 > . 1 ack 1 win 2700 sack 100-200   ; duplicate_ack dup=2`},
		{"window full", open + `
			# The SYN-ACK's window is not scaled.
			20 > . 1:3999 ack 1                    ; none
			21 > P. 4000:1 ack 1                   ; window_full
			30 < . 1 ack 4001 win 1000             ; none
			31 > P. 4001:4000 ack 1                ; window_full`},
		{"window full without scaling", noScale + `
			20 > P. 1:4000 ack 1                   ; window_full`},
		{"windows of unknown scale are never full", `
			20 > P. 1:1000 ack 1 win 1000          ; none
			21 < . 1 ack 1001 win 1000             ; none
			22 > P. 1001:1000 ack 1 win 1000       ; none window=1000`},
		{"duplicate ACKs and fast retransmission", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 101:100 ack 1 win 2500         ; none
			22 > P. 201:100 ack 1 win 2500         ; none
			30 < . 1 ack 101 win 1000              ; none
			31 < . 1 ack 101 win 1000              ; duplicate_ack dup=1
			32 < . 1 ack 101 win 1000              ; duplicate_ack dup=2
			33 > P. 101:100 ack 1 win 2500         ; retransmission+fast_retransmission v=retransmission
			43 < . 1 ack 301 win 1000              ; none rtt=21
			44 < . 1 ack 301 win 1000              ; duplicate_ack dup=1`},
		{"too late for a fast retransmission", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 101:100 ack 1 win 2500         ; none
			30 < . 1 ack 1 win 1000                ; window_update
			31 < . 1 ack 1 win 1000                ; duplicate_ack
			32 < . 1 ack 1 win 1000                ; duplicate_ack
			60 > P. 1:100 ack 1 win 2500           ; retransmission rto=40`},
		{"fast retransmission by SACK", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 101:100 ack 1 win 2500         ; none
			22 > P. 201:100 ack 1 win 2500         ; none
			30 < . 1 ack 1 win 1000 sack 201-301   ; duplicate_ack dup=1
			31 < . 1 ack 1 win 1000 sack 201-301   ; duplicate_ack dup=2
			32 > P. 101:100 ack 1 win 2500         ; retransmission+fast_retransmission`},
		{"spurious retransmission", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			30 < . 1 ack 101 win 1000              ; none
			40 > P. 1:100 ack 1 win 2500           ; retransmission+spurious_retransmission v=retransmission`},
		{"out of order", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 201:100 ack 1 win 2500         ; lost_segment
			22 > P. 101:100 ack 1 win 2500         ; out_of_order`},
		{"late, so not out of order", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 201:100 ack 1 win 2500         ; lost_segment
			33 > P. 101:100 ack 1 win 2500         ; retransmission v=retransmission rto=12`},
		{"soon, but seen before", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 101:100 ack 1 win 2500         ; none
			22 > P. 1:100 ack 1 win 2500           ; retransmission rto=2`},
		{"SYN again", `
			0 > S 0                                ; none
			1000 > S 0                             ; retransmission stream=0 v=retransmission rto=1000
			3000 > S 0                             ; retransmission rto=3000
			3010 < S. 0 ack 1                      ; none rtt=3010
			4010 < S. 0 ack 1                      ; retransmission v=retransmission`},
		{"FIN again", open + `
			20 > F. 1 ack 1                        ; none
			300 > F. 1 ack 1                       ; retransmission v=retransmission rto=280`},
		{"other number, other stream", open + `
			20 > P. 1:10 ack 1
			5000 > S 77777                         ; reused_ports stream=1
			5010 < S. 88888 ack 77778              ; none stream=1
			5020 > . 77778 ack 88889               ; none stream=1`},
		{"same number after RST, other stream", open + `
			20 < R 1                               ; none
			5000 > S 0                             ; reused_ports stream=1`},
		{"SYN-ACK of another connection", open + `
			5000 < S. 99999 ack 1                  ; reused_ports stream=1 from=responder`},
		{"the same number after a RST of the client moved on", `
			0 > S 0
			10 < R. 0 ack 1
			20 > S 0                               ; reused_ports stream=1`},
		{"two connections", open + `
			20 > S 0 port 40001                    ; none stream=1
			21 > P. 1:10 ack 1                     ; none stream=0
			22 < S. 0 ack 1 port 40001             ; none stream=1 rtt=2`},
		{"quoted by ICMP", `
			0 > S 0                                ; none stream=0
			1 > S 0 icmp                           ; none stream=0
			2 > S 0 port 40001 icmp                ; none stream=1
			3 > S 0 port 40002                     ; none stream=2
			4 > S 0 port 40001                     ; none stream=1`},
		{"multipath TCP tolerates duplicates", `
			0  > S 0 mptcp 0
			10 < S. 0 ack 1 mptcp 0
			11 > . 1 ack 1 mptcp 0
			12 < . 1 ack 1 win 1000 mptcp 2
			13 < . 1 ack 1 win 1000                ; none
			14 < . 1 ack 1 win 1000                ; duplicate_ack`},
		{"first fragment of an IP packet", open + `
			20 > . 1:1400 ack 1 fragment           ; none
			21 > . 2001:100 ack 1                  ; none v=new
			30 < . 1 ack 2101                      ; none
			31 > . 2101:1000 ack 1 fragment        ; none
			40 < . 1 ack 4000                      ; none
			41 > . 4000:10 ack 1                   ; none`},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, DefaultConfig(), tt.text, nil) })
	}
}

// TestFlags40 has what Wireshark 4.0 does differently.
func TestFlags40(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"window update with SACK", open + `
			20 > . 1 ack 1 win 2600 sack 100-200   ; window_update`},
		{"seen before, but soon", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 101:100 ack 1 win 2500         ; none
			22 > P. 1:100 ack 1 win 2500           ; out_of_order`},
		{"no fast retransmission by SACK", open + `
			20 > P. 1:100 ack 1 win 2500           ; none
			21 > P. 101:100 ack 1 win 2500         ; none
			22 > P. 201:100 ack 1 win 2500         ; none
			30 < . 1 ack 1 win 1000                ; window_update
			31 < . 1 ack 1 win 1000 sack 201-301   ; duplicate_ack
			32 < . 1 ack 1 win 1000 sack 201-301   ; duplicate_ack
			45 > P. 101:100 ack 1 win 2500         ; retransmission rto=25`},
		{"probe taken", noScale + `
			30 < . 1 ack 1 win 0                   ; zero_window
			230 > . 1:1 ack 1 win 5000             ; zero_window_probe
			240 < . 1 ack 2 win 0                  ; ack_lost_segment+zero_window`},
		{"same number after RST", open + `
			20 < R 1                               ; none
			5000 > S 0                             ; retransmission stream=0`},
		{"SYN-ACK of another connection", open + `
			5000 < S. 99999 ack 1                  ; lost_segment+reused_ports stream=0`},
		{"unseen, told once", open + `
			20 > P. 1:100 ack 1                    ; none
			30 < . 1 ack 501                       ; ack_lost_segment
			31 < . 1 ack 601                       ; none
			32 < . 1 ack 601 win 1000              ; duplicate_ack dup=1`},
		{"the oldest segment is the measure of RTO", open + `
			20 > P. 1:100 ack 1                    ; none
			40 > P. 101:100 ack 1                  ; none
			300 > P. 101:100 ack 1                 ; retransmission rto=280`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.Wireshark40 = true
			play(t, cfg, tt.text, nil)
		})
	}
}
