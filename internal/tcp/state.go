package tcp

import "strings"

// State is the state of a TCP socket. The numbers are the kernel's
// (include/net/tcp_states.h); zero is unknown.
type State uint8

// The states of RFC 9293, section 3.3.2.
const (
	StateUnknown State = 0
	Established  State = 1
	SynSent      State = 2
	SynRecv      State = 3
	FinWait1     State = 4
	FinWait2     State = 5
	TimeWait     State = 6
	Closed       State = 7
	CloseWait    State = 8
	LastAck      State = 9
	Listen       State = 10
	Closing      State = 11
	// newSynRecv is the kernel's number for a request socket. It is reported
	// as SynRecv, as netlink and procfs do.
	newSynRecv State = 12
)

// NumStates bounds arrays indexed by State.
const NumStates = 12

var stateNames = [NumStates]string{
	"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
	"CLOSED", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING",
}

// KernelState converts a number of include/net/tcp_states.h.
func KernelState(n uint8) State {
	switch s := State(n); {
	case s == newSynRecv:
		return SynRecv
	case s < NumStates:
		return s
	default:
		return StateUnknown
	}
}

func (s State) String() string {
	if s < NumStates {
		return stateNames[s]
	}
	return ""
}

// StateNames lists the names of the known states, in the order of a
// connection's life.
func StateNames() []string {
	return []string{
		"LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2",
		"CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT", "CLOSED",
	}
}

// StateSet is a set of states; bit n is State(n).
type StateSet uint16

// Has reports whether the set contains s.
func (m StateSet) Has(s State) bool { return m>>s&1 != 0 }

// States makes a set.
func States(ss ...State) StateSet {
	var m StateSet
	for _, s := range ss {
		m |= 1 << s
	}
	return m
}

// AllStates contains every known state.
const AllStates StateSet = 1<<NumStates - 2

// stateGroups are the groups of ss(8); half-open and closing are ours.
var stateGroups = map[string]StateSet{
	"all":          AllStates,
	"connected":    AllStates &^ (1<<Listen | 1<<Closed),
	"synchronized": AllStates &^ (1<<Listen | 1<<Closed | 1<<SynSent),
	"bucket":       1<<SynRecv | 1<<TimeWait,
	"big":          AllStates &^ (1<<SynRecv | 1<<TimeWait),
	"half-open":    1<<SynSent | 1<<SynRecv,
	"closing":      1<<FinWait1 | 1<<FinWait2 | 1<<CloseWait | 1<<LastAck | 1<<Closing,
}

// stateSpellings are spellings which folding of case, '-' and '_' does not reach.
var stateSpellings = map[string]State{
	"estab": Established, "listening": Listen, "unconn": Closed, "close": Closed,
	"synrcv": SynRecv, "synrcvd": SynRecv, "synreceived": SynRecv, "newsynrecv": SynRecv,
	"syn": SynSent,
}

// ParseState finds the states that a name stands for: RFC 9293, the kernel, ss
// and netstat spellings in any case, and the groups all, connected,
// synchronized, bucket, big, half-open and closing. "closing" is the group in
// lower case and the single state as "CLOSING".
func ParseState(name string) (StateSet, bool) {
	if name == "CLOSING" {
		return 1 << Closing, true
	}
	if m, ok := stateGroups[strings.ReplaceAll(strings.ToLower(name), "_", "-")]; ok {
		return m, true
	}
	folded := foldState(name)
	if folded == "halfopen" {
		return stateGroups["half-open"], true
	}
	if s, ok := stateSpellings[folded]; ok {
		return 1 << s, true
	}
	for s := State(1); s < NumStates; s++ {
		if folded == foldState(stateNames[s]) {
			return 1 << s, true
		}
	}
	return 0, false
}

// StateGroupNames lists the groups that ParseState knows.
func StateGroupNames() []string {
	return []string{"all", "connected", "synchronized", "bucket", "big", "half-open", "closing"}
}

var stateFolder = strings.NewReplacer("-", "", "_", "")

func foldState(s string) string { return stateFolder.Replace(strings.ToLower(s)) }
