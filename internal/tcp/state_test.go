package tcp

import (
	"strings"
	"testing"
)

// TestParseState goes through the spellings of RFC 9293, the kernel
// (include/net/tcp_states.h without TCP_), ss and netstat.
func TestParseState(t *testing.T) {
	for spellings, want := range map[string]StateSet{
		"ESTABLISHED established Established ESTAB estab":                                                           States(Established),
		"SYN_SENT SYN-SENT syn-sent syn_sent SynSent":                                                               States(SynSent),
		"SYN_RECV SYN-RECV syn-recv SYN-RECEIVED SYN_RECEIVED syn-received SYN_RCVD syn_rcvd SYN-RCVD NEW_SYN_RECV": States(SynRecv),
		"FIN_WAIT1 FIN-WAIT-1 fin-wait-1 FIN_WAIT_1 fin_wait1 FINWAIT1":                                             States(FinWait1),
		"FIN_WAIT2 FIN-WAIT-2 fin-wait-2 FIN_WAIT_2 fin_wait2 FINWAIT2":                                             States(FinWait2),
		"TIME_WAIT TIME-WAIT time-wait timewait TimeWait":                                                           States(TimeWait),
		"CLOSED CLOSE close closed UNCONN unconn":                                                                   States(Closed),
		"CLOSE_WAIT CLOSE-WAIT close-wait close_wait":                                                               States(CloseWait),
		"LAST_ACK LAST-ACK last-ack last_ack":                                                                       States(LastAck),
		"LISTEN listen LISTENING listening":                                                                         States(Listen),
		"CLOSING":                                                                                                   States(Closing),
		"closing Closing":                                                                                           States(FinWait1, FinWait2, CloseWait, LastAck, Closing),
		"half-open half_open HALF-OPEN halfopen":                                                                    States(SynSent, SynRecv),
		"bucket":                                                                                                    States(SynRecv, TimeWait),
		"all ALL":                                                                                                   AllStates,
		"connected Connected":                                                                                       AllStates &^ States(Listen, Closed),
		"synchronized":                                                                                              AllStates &^ States(Listen, Closed, SynSent),
		"big":                                                                                                       AllStates &^ States(SynRecv, TimeWait),
	} {
		for s := range strings.FieldsSeq(spellings) {
			if got, ok := ParseState(s); !ok || got != want {
				t.Errorf("ParseState(%q) = %b, %v; want %b", s, got, ok, want)
			}
		}
	}
	for _, s := range []string{"", "-", "_", "unknown", "establishe", "wait", "fin-wait-3", "fin-wait", "0", "established ", "est ab"} {
		if got, ok := ParseState(s); ok || got != 0 {
			t.Errorf("ParseState(%q) = %b", s, got)
		}
	}
	for _, g := range StateGroupNames() {
		if m, ok := ParseState(g); !ok || m == 0 {
			t.Errorf("the group %s is unknown", g)
		}
	}
	if len(StateGroupNames()) != len(stateGroups) {
		t.Error("StateGroupNames lacks a group")
	}
}

func TestStateNames(t *testing.T) {
	var all StateSet
	for _, n := range StateNames() {
		m, ok := ParseState(n)
		if !ok || m&(m-1) != 0 {
			t.Fatalf("%s is not one state", n)
		}
		all |= m
	}
	if all != AllStates || len(StateNames()) != NumStates-1 {
		t.Errorf("StateNames has %d names of %b", len(StateNames()), all)
	}
	for s := range State(NumStates + 4) {
		m, ok := ParseState(s.String())
		known := s != StateUnknown && s < NumStates
		if ok != known || known && m != States(s) {
			t.Errorf("state %d is called %q", s, s)
		}
		if AllStates.Has(s) != known && s < 16 {
			t.Errorf("AllStates.Has(%d) is %v", s, !known)
		}
	}
	if AllStates.Has(200) {
		t.Error("state 200 is in AllStates")
	}
}

func TestKernelState(t *testing.T) {
	for n := range 256 {
		want := StateUnknown
		switch {
		case n == 12: // TCP_NEW_SYN_RECV
			want = SynRecv
		case n >= 1 && n <= 11:
			want = State(n)
		}
		if got := KernelState(uint8(n)); got != want {
			t.Errorf("KernelState(%d) = %v, want %v", n, got, want)
		}
	}
}

func FuzzParseState(f *testing.F) {
	for _, s := range append(StateNames(), StateGroupNames()...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := ParseState(s)
		if ok != (m != 0) || m&^AllStates != 0 {
			t.Fatalf("ParseState(%q) = %b, %v", s, m, ok)
		}
	})
}
