package sockdiag

import "github.com/viewtcp/viewtcp/internal/tcp"

// sockKey names a full socket. Before Linux 5.7 each namespace counted its own
// cookies.
type sockKey struct {
	cookie uint64
	netns  uint32
}

// known is what a Source remembers of a full socket from one dump to the next:
// its owner, and what the message of its end will not tell.
type known struct {
	key         sockKey
	tuple       tcp.Tuple
	owner       tcp.Owner
	inode, uid  uint32
	has         tcp.Has // of inode and uid
	pass        uint32  // the last that showed it
	state       tcp.State
	direction   tcp.Direction
	attribution tcp.Attribution
	// tries counts the look-ups that did not find an owner.
	tries uint8
	used  bool
	// destroyed is set once its end was heard of. It stays until a dump begun
	// later has ended, because a dump read earlier may still show it.
	destroyed bool
}

// maxTries bounds the look-ups of an owner between two rescans: the owner may
// be out of sight for good.
const maxTries = 3

// keptHas is what is kept of an observation.
const keptHas = tcp.HasInode | tcp.HasUID

// describe adds to o what an inet_diag_msg of a destroyed socket does not hold.
func (k *known) describe(o *tcp.Observation) {
	o.Direction = k.direction
	o.Owner, o.Attribution = k.owner, k.attribution
	o.Inode, o.UID = k.inode, k.uid
	o.Has |= k.has
}

// knownSet holds the sockets known, without pointers, so that a million of them
// cost the garbage collector nothing.
type knownSet struct {
	index map[sockKey]uint32
	slots []known
	free  []uint32
}

func newKnownSet() knownSet { return knownSet{index: make(map[sockKey]uint32)} }

// at returns a socket, valid until the next call of note.
func (s *knownSet) at(i uint32) *known { return &s.slots[i] }

// find returns a socket, nil if it is not known, valid until the next call of
// note.
func (s *knownSet) find(key sockKey) *known {
	if i, ok := s.index[key]; ok {
		return &s.slots[i]
	}
	return nil
}

// note brings what is known of an observed socket up to date; k is nil for
// mini-sockets, of which nothing is kept. again says that the observation is not
// to be reported: the socket moved in the kernel's tables while they were being
// read, perhaps to become the TIME_WAIT that has its cookie, or its end was
// heard of since the kernel wrote this. k is valid until the next call.
func (s *knownSet) note(o *tcp.Observation, pass uint32) (i uint32, k *known, again bool) {
	key := sockKey{o.Cookie, o.NetNS}
	i, ok := s.index[key]
	if ok {
		k = &s.slots[i]
		again = k.pass == pass || (k.destroyed && !o.Mini)
	}
	if again || o.Mini {
		return i, nil, again
	}
	if !ok {
		if n := len(s.free); n > 0 {
			i, s.free = s.free[n-1], s.free[:n-1]
		} else {
			i = uint32(len(s.slots))
			s.slots = append(s.slots, known{})
		}
		s.index[key] = i
		s.slots[i] = known{key: key, used: true}
	}
	k = &s.slots[i]
	if k.inode != o.Inode {
		// It was accepted, or left by its process: another owner.
		k.owner, k.attribution, k.tries = tcp.Owner{}, tcp.AttributionUnknown, 0
		k.inode = o.Inode
	}
	k.uid, k.has = o.UID, o.Has&keptHas
	if o.Direction != tcp.DirectionUnknown {
		k.direction = o.Direction
	}
	k.tuple, k.state, k.pass = o.Tuple, o.State, pass
	return i, k, false
}

// complete adds to o what dumps do not tell.
func (k *known) complete(o *tcp.Observation) {
	o.Owner, o.Attribution = k.owner, k.attribution
	if o.Direction == tcp.DirectionUnknown {
		o.Direction = k.direction
	}
}

// unowned says that the socket has a file whose owner is worth looking up.
func (k *known) unowned() bool {
	return k.inode != 0 && k.attribution == tcp.AttributionUnknown && k.tries < maxTries
}

// expire forgets the sockets that neither this pass nor the one before showed.
func (s *knownSet) expire(pass uint32) {
	for i := range s.slots {
		k := &s.slots[i]
		if k.used && (pass-k.pass > 1 || (k.destroyed && k.pass != pass)) {
			delete(s.index, k.key)
			*k = known{}
			s.free = append(s.free, uint32(i))
		}
	}
}
