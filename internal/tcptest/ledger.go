package tcptest

import "net/netip"

// An End is one end of one connection, in the words of the process that held
// it: the independent ledger that reports are held against.
type End struct {
	// Side is "client" or "server".
	Side string `json:"side"`
	// PID is the process as its own pid namespace numbers it.
	PID int `json:"pid"`
	// Cookie is the kernel's SO_COOKIE: the one key that is never reused.
	Cookie uint64         `json:"cookie"`
	Local  netip.AddrPort `json:"local"`
	Remote netip.AddrPort `json:"remote"`
	// Sent and Received are payload bytes.
	Sent     uint64 `json:"sent"`
	Received uint64 `json:"received"`
	// Close says who ends the connection and how; empty while it lasts.
	Close CloseMode `json:"close,omitempty"`
}

// CloseMode is who ends a connection first, and how.
type CloseMode string

// Close modes. An RST is a close with SO_LINGER set to zero.
const (
	ClientFIN CloseMode = "client-fin"
	ServerFIN CloseMode = "server-fin"
	ClientRST CloseMode = "client-rst"
	ServerRST CloseMode = "server-rst"
)

// CloseModes lists all of them.
func CloseModes() []CloseMode { return []CloseMode{ClientFIN, ServerFIN, ClientRST, ServerRST} }

// A Ledger is what the processes of a test say that they did.
type Ledger []End

// ByCookie indexes the ledger.
func (l Ledger) ByCookie() map[uint64]*End {
	m := make(map[uint64]*End, len(l))
	for i := range l {
		m[l[i].Cookie] = &l[i]
	}
	return m
}

// Bytes sums the payload over all ends.
func (l Ledger) Bytes() (sent, received uint64) {
	for i := range l {
		sent += l[i].Sent
		received += l[i].Received
	}
	return sent, received
}
