package analysis

import "testing"

// far is a handshake of 10 ms seen at the server, so that the client is far.
const far = `
	0    > S 0
	0.1  < S. 0 ack 1
	10   > . 1 ack 1
`

// TestVerdicts has our own verdicts: what was sent again, what was overtaken,
// what the network copied.
func TestVerdicts(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"seen before", far + `
			20 > P. 1:100 ack 1                    ; v=new
			40 > P. 1:100 ack 1                    ; v=retransmission why=bytes_already_seen`},
		{"seen before in other segments", far + `
			20 > P. 1:100 ack 1                    ; v=new
			21 > P. 101:100 ack 1                  ; v=new
			40 > P. 51:100 ack 1                   ; v=retransmission why=bytes_already_seen`},
		{"new bytes behind old ones", far + `
			20 > P. 1:100 ack 1                    ; v=new
			40 > P. 1:200 ack 1                    ; v=retransmission why=some_bytes_already_seen`},
		{"fills a gap, IP-ID tells: sent later", far + `
			20 > P. 1:100 ack 1 id 7               ; v=new
			21 > P. 101:100 ack 1 id 8             ; v=new
			22 > P. 301:100 ack 1 id 10            ; v=new
			23 > P. 201:100 ack 1 id 11            ; v=retransmission why=fills_a_gap,_IP-ID_later_than_beyond_the_gap`},
		{"fills a gap, IP-ID tells: sent earlier", far + `
			20 > P. 1:100 ack 1 id 65534           ; v=new
			21 > P. 101:100 ack 1 id 65535         ; v=new
			22 > P. 301:100 ack 1 id 1             ; v=new
			90 > P. 201:100 ack 1 id 0             ; v=retransmission why=fills_a_gap,_late
			91 > P. 501:100 ack 1 id 4             ; v=new
			99 > P. 401:100 ack 1 id 3             ; v=reordered why=fills_a_gap,_IP-ID_earlier_than_beyond_the_gap`},
		{"fills a gap, timestamps tell", far + `
			20 > P. 1:100 ack 1 ts 20              ; v=new
			22 > P. 201:100 ack 1 ts 22            ; v=new
			23 > P. 401:100 ack 1 ts 24            ; v=new
			24 > P. 101:100 ack 1 ts 23            ; v=retransmission why=fills_a_gap,_timestamp_later_than_beyond_the_gap
			60 > P. 301:100 ack 1 ts 23            ; v=reordered why=fills_a_gap,_timestamp_earlier_than_beyond_the_gap`},
		{"random IP-IDs tell nothing", far + `
			20 > P. 1:100 ack 1 id 7               ; v=new
			21 > P. 101:100 ack 1 id 60000         ; v=new
			22 > P. 201:100 ack 1 id 31000         ; v=new
			23 > P. 401:100 ack 1 id 100           ; v=new
			24 > P. 301:100 ack 1 id 101           ; v=reordered why=fills_a_gap,_soon`},
		{"fills a gap, only time tells", far + `
			20 > P. 1:100 ack 1                    ; v=new
			21 > P. 201:100 ack 1                  ; v=new
			22 > P. 401:100 ack 1                  ; v=new
			26 > P. 301:100 ack 1                  ; v=reordered why=fills_a_gap,_soon
			31 > P. 101:100 ack 1                  ; v=retransmission why=fills_a_gap,_late`},
		{"fills a gap, round trip unknown", `
			20 > P. 1:100 ack 1                    ; v=new
			21 > P. 201:100 ack 1                  ; v=new
			28 > P. 101:50 ack 1                   ; v=reordered
			30 > P. 151:50 ack 1                   ; v=retransmission`},
		{"at the sender nothing is overtaken", open + `
			20 > P. 1:100 ack 1                    ; v=new
			21 > P. 201:100 ack 1                  ; v=new
			22 > P. 101:100 ack 1                  ; v=retransmission`},
		{"part of a gap", far + `
			20 > P. 1:100 ack 1                    ; v=new
			21 > P. 501:100 ack 1                  ; v=new
			22 > P. 201:100 ack 1                  ; v=reordered
			24 > P. 301:200 ack 1                  ; v=reordered
			25 > P. 101:200 ack 1                  ; v=retransmission why=some_bytes_already_seen
			60 > P. 201:100 ack 1                  ; v=retransmission`},
		{"the same packet twice", far + `
			20 > P. 1:100 ack 1 id 7 ts 5          ; v=new
			21 > P. 1:100 ack 1 id 7 ts 5          ; v=network_duplicate why=same_IP-ID_and_timestamp_as_before
			22 > P. 1:100 ack 1 id 8 ts 5          ; v=retransmission
			23 > P. 1:100 ack 1 id 8 ts 6          ; v=retransmission
			24 > . 101 ack 1 id 9 ts 6             ; v=new
			24 > . 101 ack 1 id 9 ts 6             ; v=network_duplicate
			25 > . 101 ack 1 id 10 ts 6            ; v=new`},
		{"constant IP-IDs tell nothing", far + `
			20 > P. 1:100 ack 1 id 7               ; v=new
			21 > P. 101:100 ack 1 id 7             ; v=new
			50 > P. 101:100 ack 1 id 7             ; v=retransmission`},
		{"twice in less than a round trip", far + `
			20 > P. 1:100 ack 1                    ; v=new
			24 > P. 1:100 ack 1                    ; v=network_duplicate why=again_before_an_answer_could_have_come
			40 > P. 1:100 ack 1                    ; v=retransmission`},
		{"overtaken by its own retransmission", far + `
			20 > P. 1:100 ack 1 id 7               ; v=new
			21 > P. 101:100 ack 1 id 8             ; v=new
			22 > P. 301:100 ack 1 id 10            ; v=new
			33 > P. 201:100 ack 1 id 11            ; v=retransmission
			34 > P. 201:100 ack 1 id 9             ; v=reordered why=overtaken_by_its_own_retransmission`},
		{"lost before it was seen: an IP-ID is missing", far + `
			20 > P. 1:100 ack 1 id 7               ; v=new
			21 > P. 101:100 ack 1 id 8             ; v=new
			22 > P. 201:100 ack 1 id 9             ; v=new
			23 > P. 301:100 ack 1 id 10            ; v=new
			24 > P. 401:100 ack 1 id 11            ; v=new
			60 > P. 501:100 ack 1 id 13            ; v=retransmission why=late,_and_an_IP-ID_before_it_is_missing`},
		{"an IP-ID is missing, but there was something to acknowledge", far + `
			20 > P. 1:100 ack 1 id 7               ; v=new
			21 > P. 101:100 ack 1 id 8             ; v=new
			22 > P. 201:100 ack 1 id 9             ; v=new
			23 > P. 301:100 ack 1 id 10            ; v=new
			24 > P. 401:100 ack 1 id 11            ; v=new
			25 < P. 1:50 ack 501                   ; v=new
			60 > P. 501:100 ack 51 id 13           ; v=new`},
		{"handshake and FIN", `
			0 > S 0                                ; v=new
			1000 > S 0                             ; v=retransmission
			1010 < S. 0 ack 1                      ; v=new
			2010 < S. 0 ack 1                      ; v=retransmission
			2011 > . 1 ack 1                       ; v=new
			2020 > F. 1 ack 1                      ; v=new
			2400 > F. 1 ack 1                      ; v=retransmission`},
		{"a FIN behind data sent again", far + `
			20 > P. 1:100 ack 1                    ; v=new
			60 > F. 1:100 ack 1                    ; v=retransmission`},
		{"a segment of one byte sent again is no keep-alive", far + `
			20 > P. 1:1 ack 1                      ; v=new
			60 > P. 1:1 ack 1                      ; v=retransmission
			70 < . 1 ack 2
			9000 > . 1:1 ack 1                     ; v=new why=keep-alive`},
		{"Linux probes a closed window with an old number", far + `
			20 > P. 1:100 ack 1                    ; v=new
			21 < . 1 ack 101 win 0
			220 > . 100 ack 1                      ; v=new why=probe_of_a_closed_window keep_alive`},
		{"before the first segment of the capture", `
			20 > P. 1001:100 ack 1                 ; v=new
			21 > P. 901:100 ack 1                  ; v=reordered
			22 < . 1 ack 1101
			60 > P. 801:100 ack 1                  ; v=retransmission why=already_acknowledged_when_the_capture_began`},
		{"a broken number is not believed", far + `
			20 > P. 1:100 ack 1                    ; v=new
			21 > P. 1600000000:100 ack 1           ; v=new
			22 > P. 101:100 ack 1                  ; v=new
			40 > P. 1:100 ack 1                    ; v=retransmission`},
		{"resets have no place", far + `
			20 > R 1:10                            ; v=new
			21 > R 1                               ; v=new`},
	} {
		t.Run(tt.name, func(t *testing.T) { play(t, DefaultConfig(), tt.text, nil) })
	}
}

// TestBytes: distinct bytes seen, bytes sent again, bytes that only
// acknowledgements tell of.
func TestBytes(t *testing.T) {
	for _, tt := range []struct {
		name, text                     string
		payload, unique, again, missed uint64
	}{
		{"undisturbed", far + `
			20 > P. 1:100 ack 1
			21 > P. 101:50 ack 1
			30 < . 1 ack 151
			31 > F. 151:10 ack 1
			32 < F. 1 ack 162
			33 > . 162 ack 2`, 160, 160, 0, 0},
		{"sent again", far + `
			20 > P. 1:100 ack 1
			90 > P. 1:150 ack 1`, 250, 150, 150, 0},
		{"a gap, filled", far + `
			20 > P. 1:100 ack 1
			21 > P. 301:100 ack 1
			22 > P. 151:50 ack 1
			23 > P. 101:200 ack 1
			30 < . 1 ack 401`, 450, 400, 200, 0},
		{"a gap, acknowledged", far + `
			20 > P. 1:100 ack 1
			21 > P. 301:100 ack 1
			30 < . 1 ack 401`, 200, 200, 0, 200},
		{"a gap, in part acknowledged", far + `
			20 > P. 1:100 ack 1
			21 > P. 301:100 ack 1
			30 < . 1 ack 151`, 200, 200, 0, 50},
		{"beyond all that was seen", far + `
			20 > P. 1:100 ack 1
			30 < . 1 ack 501
			31 < . 1 ack 501`, 100, 100, 0, 399},
		{"a broken acknowledgement", far + `
			20 > P. 1:100 ack 1
			30 < . 1 ack 1600000000
			31 < . 1 ack 101`, 100, 100, 0, 0},
		{"SYN with data", `
			0 > S 0:10
			10 < S. 0 ack 11
			20 > . 11:5 ack 1`, 15, 15, 0, 0},
		{"only acknowledgements are seen", `
			0 < . 1 ack 1
			10 < . 1 ack 101`, 0, 0, 0, 0},
		{"FIN of data seen before", far + `
			20 > P. 1:100 ack 1
			60 > F. 1:100 ack 1`, 200, 100, 100, 0},
		{"a probe that is taken", far + `
			20 < . 1 ack 1 win 0
			21 > . 1:1 ack 1
			22 < . 1 ack 2 win 0
			23 > . 2:1 ack 1
			24 < . 1 ack 2 win 100
			25 > . 2:50 ack 1`, 52, 51, 0, 0},
		{"the other fragments of a packet", far + `
			20 > . 1:1400 ack 1 fragment
			21 > . 2001:100 ack 1
			30 < . 1 ack 2101`, 2100, 2100, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			play(t, DefaultConfig(), tt.text, func(t *testing.T, a *Analyzer, c *Conn) {
				t.Helper()
				s := &c.Sides[0]
				if c.Tuple.RemotePort != 443 {
					s = &c.Sides[1]
				}
				if got := [4]uint64{s.PayloadBytes, s.UniqueBytes, s.RetransmittedBytes, a.Missed(s)}; got != [4]uint64{tt.payload, tt.unique, tt.again, tt.missed} {
					t.Errorf("payload, unique, again, missed: %d, want %d %d %d %d", got, tt.payload, tt.unique, tt.again, tt.missed)
				}
			})
		})
	}
}
