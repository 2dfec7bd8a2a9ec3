package sockdiag

import (
	"context"
	"flag"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

var update = flag.Bool("update", false, "record testdata anew")

// fakeOwners knows an owner for every inode.
type fakeOwners struct {
	calls, wanted int
	unknown       map[uint32]bool
	err           error
}

func (f *fakeOwners) Resolve(_ context.Context, want map[uint32]struct{}, found func(uint32, tcp.Owner)) error {
	f.calls++
	for inode := range want {
		f.wanted++
		if !f.unknown[inode] {
			found(inode, ownerOf(inode))
			found(inode, tcp.Owner{PID: 1}) // a second holder
		}
	}
	found(1<<31, tcp.Owner{PID: 2}) // nobody asked
	return f.err
}

func ownerOf(inode uint32) tcp.Owner {
	return tcp.Owner{PID: int32(inode), Start: uint64(inode), Comm: tcp.MakeComm("holder")}
}
