package procfs

import (
	"math"
	"sync/atomic"
)

// Owners finds the processes that hold sockets, by walking the descriptors of
// all processes. It may be used from several goroutines; one walk runs at a time.
//
// The descriptors of a process are those of its thread group leader: a thread
// that left the shared table (CLONE_FILES undone) is not looked into.
type Owners struct {
	root string
	walker
	hidden atomic.Int64
}

// NewOwners returns a finder below cfg.Root; the rest of cfg is not used.
func NewOwners(cfg Config) *Owners { return &Owners{root: cfg.withDefaults().Root} }

// Hidden is the number of processes whose descriptors the last Resolve could
// not read for lack of rights. Processes that hidepid hides altogether are not
// in it: they cannot even be counted.
func (w *Owners) Hidden() int { return int(w.hidden.Load()) }

// socketPrefix begins the link of a socket's descriptor: "socket:[12345]"
// (sockfs_dname of net/socket.c).
const socketPrefix = "socket:["

// parseSocketLink returns the inode number of a socket's descriptor.
func parseSocketLink(link []byte) (inode uint32, ok bool) {
	if len(link) < len(socketPrefix)+2 || string(link[:len(socketPrefix)]) != socketPrefix {
		return 0, false
	}
	inode, n := leadingNumber(link[len(socketPrefix):])
	return inode, n > 0 && len(link) == len(socketPrefix)+n+1 && link[len(link)-1] == ']'
}

// leadingNumber reads the decimal number that b begins with and tells how many
// digits it has; 0 digits when there is none or it does not fit.
func leadingNumber(b []byte) (v uint32, digits int) {
	var n uint64
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		n = n*10 + uint64(b[digits]-'0')
		if n > math.MaxUint32 {
			return 0, 0
		}
		digits++
	}
	return uint32(n), digits
}
