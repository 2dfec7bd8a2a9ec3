package sockdiag

import (
	"errors"
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func socketSeen(cookie uint64, inode uint32, s tcp.State) *tcp.Observation {
	o := &tcp.Observation{Cookie: cookie, Inode: inode, State: s, Has: tcp.HasInode}
	o.NetNS = 7
	return o
}

func TestKnownSet(t *testing.T) {
	s := newKnownSet()
	i, k, _ := s.note(socketSeen(1, 10, tcp.Established), 1)
	if !k.unowned() {
		t.Error("a new socket needs no owner")
	}
	l := newLookup()
	l.found[10] = tcp.Owner{PID: 5}
	l.apply(k)
	if k.unowned() || k.owner.PID != 5 || k.attribution != tcp.AttributionScan {
		t.Errorf("%+v", k)
	}
	if j, k, again := s.note(socketSeen(1, 10, tcp.CloseWait), 2); j != i || again || k.owner.PID != 5 || k.state != tcp.CloseWait {
		t.Errorf("noted again at %d, %d: %+v, %v", i, j, k, again)
	}
	mini := socketSeen(1, 0, tcp.TimeWait)
	mini.Mini = true
	if _, _, again := s.note(mini, 2); !again {
		t.Error("listed in two states by one dump")
	}
	if _, k, again := s.note(mini, 3); again || k != nil {
		t.Errorf("TIME_WAIT of a socket that is gone: %+v, %v", k, again)
	}
	// The same cookie with another file: whoever owned that one, not this.
	if _, k, _ := s.note(socketSeen(1, 11, tcp.CloseWait), 3); k.owner.PID != 0 || !k.unowned() {
		t.Errorf("owner kept: %+v", k)
	}
	// The same cookie in another namespace (Linux before 5.7) is another socket.
	if s.find(sockKey{1, 8}) != nil || s.find(sockKey{1, 7}) == nil {
		t.Error("namespaces are mixed up")
	}

	s.expire(4)
	if s.find(sockKey{1, 7}) == nil {
		t.Error("forgotten after one pass that did not show it")
	}
	s.expire(5)
	if s.find(sockKey{1, 7}) != nil {
		t.Error("not forgotten after two")
	}
	if j, _, _ := s.note(socketSeen(2, 12, tcp.Established), 5); j != i {
		t.Errorf("place %d not used again, but %d", i, j)
	}
	k = s.find(sockKey{2, 7})
	k.destroyed = true
	s.expire(5)
	if _, _, again := s.note(socketSeen(2, 12, tcp.Established), 6); !again {
		t.Error("shown by a dump after its end")
	}
	if s.find(sockKey{2, 7}) == nil {
		t.Error("forgotten while a dump may still show it")
	}
	s.expire(6)
	if s.find(sockKey{2, 7}) != nil || len(s.index) != 0 {
		t.Error("a destroyed socket is kept")
	}
}

func TestLookup(t *testing.T) {
	s := newKnownSet()
	for inode := range uint32(4) {
		s.note(socketSeen(uint64(inode)+1, inode, tcp.Established), 1)
	}
	l := newLookup()
	for inode := range uint32(4) {
		l.want[inode] = struct{}{}
	}
	owners := &fakeOwners{unknown: map[uint32]bool{3: true}}
	if err := l.run(t.Context(), owners); err != nil {
		t.Fatal(err)
	}
	l.applyAll(&s, true)
	check := func(what string, inode uint32, want tcp.Owner) {
		t.Helper()
		if k := s.find(sockKey{uint64(inode) + 1, 7}); k.owner != want {
			t.Errorf("%s: inode %d has %+v, want %+v", what, inode, k.owner, want)
		}
	}
	check("first", 0, tcp.Owner{}) // no file
	check("first", 1, ownerOf(1))
	check("first", 3, tcp.Owner{})

	// Process 2 is gone when all are looked up again.
	owners.unknown[2] = true
	owners.err = errors.New("cut short")
	if err := l.run(t.Context(), owners); !errors.Is(err, owners.err) {
		t.Errorf("got %v", err)
	}
	l.applyAll(&s, false)
	check("cut short", 2, ownerOf(2))
	l.applyAll(&s, true)
	check("whole", 2, tcp.Owner{})
	check("whole", 1, ownerOf(1))

	k := s.find(sockKey{4, 7})
	for range maxTries {
		l.apply(k)
	}
	if k.unowned() {
		t.Error("looked up for ever")
	}
}
