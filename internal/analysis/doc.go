// Package analysis turns the segments of a capture into connections: their
// states, round trips, retransmissions, windows and the reasons for each.
//
// It reads every segment once, in the order of the capture, keeps a bounded
// amount of memory, and knows neither files nor clocks: time comes with the
// segments. Names and conditions of the flags are those of Wireshark 4.4 where
// it has them; beside them stands our own verdict on what was sent again.
package analysis
