package analysis

import "math/bits"

// Rare is what most sides of connections never have: it takes memory only where
// something of it was seen.
type Rare struct {
	// Flags counts each flag by the number of its bit.
	Flags [NumFlags]uint32
	// Urgents, ECEs and CWRs count the control bits (RFC 3168), CEs the packets
	// marked Congestion Experienced.
	Urgents, ECEs, CWRs, CEs uint32
	// DSACKs counts segments whose SACK blocks tell of a duplicate (RFC 2883).
	DSACKs uint32
	// TripleDupAcks counts the acknowledgements repeated three times.
	TripleDupAcks uint32
}

// Count returns how many segments had a flag. f must be one bit.
func (r *Rare) Count(f Flags) uint32 {
	if i := bits.TrailingZeros(uint(f)); i < len(r.Flags) {
		return r.Flags[i]
	}
	return 0
}

// Rare returns the rare numbers of one end of a connection that the Analyzer
// still has. They must not be changed, and are valid until the next call of Add
// or Flush.
func (a *Analyzer) Rare(s *Side) *Rare {
	if s.rare == 0 {
		return &a.noRare
	}
	return a.rares.at(s.rare)
}

// rareOf returns the rare numbers of a side, to add to.
func (a *Analyzer) rareOf(s *Side) *Rare {
	if s.rare == 0 {
		s.rare = a.rares.get() // there are as many as sides
		*a.rares.at(s.rare) = Rare{}
	}
	return a.rares.at(s.rare)
}

func (a *Analyzer) freeRare(s *Side) {
	if s.rare != 0 {
		a.rares.put(s.rare)
		s.rare = 0
	}
}
