package capture

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// cryptoPAn maps addresses to addresses one to one, so that two that share n
// bits at their begin do so afterwards: Fan, Xu, Ammar and Moon, "Prefix-
// preserving IP address anonymization", Computer Networks 46 (2004). IPv6 is
// done in the same way over 128 bits.
type cryptoPAn struct {
	block cipher.Block
	pad   [16]byte

	// Every bit costs an encryption, so results are kept, within a bound.
	v4 map[[4]byte][4]byte
	v6 map[[16]byte][16]byte
}

// panCache is how many addresses are kept of either family.
const panCache = 1 << 16

// newCryptoPAn takes a key of 32 bytes: half for AES, half for the padding.
func newCryptoPAn(key []byte) (*cryptoPAn, error) {
	if len(key) != anonymizeKeySize {
		return nil, fmt.Errorf("anonymising: the key has %d bytes, not %d", len(key), anonymizeKeySize)
	}
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		return nil, fmt.Errorf("anonymising: %w", err)
	}
	p := &cryptoPAn{block: block, v4: map[[4]byte][4]byte{}, v6: map[[16]byte][16]byte{}}
	block.Encrypt(p.pad[:], key[16:])
	return p, nil
}

// four maps an IPv4 address.
func (p *cryptoPAn) four(a [4]byte) [4]byte {
	if r, ok := p.v4[a]; ok {
		return r
	}
	var in, out [16]byte
	orig, pad := binary.BigEndian.Uint32(a[:]), binary.BigEndian.Uint32(p.pad[:])
	in = p.pad
	var flip uint32
	for pos := range 32 {
		mask := ^(^uint32(0) >> pos) // the bits before pos
		binary.BigEndian.PutUint32(in[:], orig&mask|pad&^mask)
		p.block.Encrypt(out[:], in[:])
		flip |= uint32(out[0]>>7) << (31 - pos)
	}
	var r [4]byte
	binary.BigEndian.PutUint32(r[:], orig^flip)
	if len(p.v4) >= panCache {
		clear(p.v4)
	}
	p.v4[a] = r
	return r
}

// six maps an IPv6 address.
func (p *cryptoPAn) six(a [16]byte) [16]byte {
	if r, ok := p.v6[a]; ok {
		return r
	}
	var in, out [16]byte
	in = p.pad
	r := a
	for pos := range 128 {
		p.block.Encrypt(out[:], in[:])
		bit := byte(0x80) >> (pos % 8)
		if out[0]&0x80 != 0 {
			r[pos/8] ^= bit
		}
		in[pos/8] = in[pos/8]&^bit | a[pos/8]&bit
	}
	if len(p.v6) >= panCache {
		clear(p.v6)
	}
	p.v6[a] = r
	return r
}
