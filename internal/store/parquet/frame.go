package parquet

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A log file is a header and frames, one a batch. docs/format.md describes them.

const (
	logMagic      = "VTCPWAL"
	logHeaderSize = 32
	frameHeader   = 16
	// maxFrame bounds the payload of a frame.
	maxFrame = 256 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendLogHeader appends the header of a log file whose first frame will be seq.
// The salt goes into the checksums of the file's frames: texts that strangers
// choose stand in frames, and nobody shall write one that looks like a frame.
func appendLogHeader(b []byte, seq uint64, created int64, salt uint32) []byte {
	h := append(make([]byte, 0, logHeaderSize), logMagic...)
	h = append(h, formatVersion)
	h = binary.LittleEndian.AppendUint64(h, seq)
	h = binary.LittleEndian.AppendUint64(h, uint64(created))
	h = binary.LittleEndian.AppendUint32(h, salt)
	return append(b, appendChecksum(h)...)
}

// parseLogHeader returns the number of the first frame and the salt. An intact header of
// another version is ErrVersion, all else that is wrong ErrDamaged.
func parseLogHeader(b []byte) (seq uint64, salt uint32, err error) {
	if len(b) < logHeaderSize || string(b[:len(logMagic)]) != logMagic {
		return 0, 0, fmt.Errorf("log header: %w", store.ErrDamaged)
	}
	if crc32.Checksum(b[:28], castagnoli) != binary.LittleEndian.Uint32(b[28:]) {
		return 0, 0, fmt.Errorf("checksum of log header: %w", store.ErrDamaged)
	}
	if v := b[len(logMagic)]; v != formatVersion {
		return 0, 0, fmt.Errorf("log of version %d: %w", v, store.ErrVersion)
	}
	return binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[24:]), nil
}

// appendFrame appends a frame.
func appendFrame(b []byte, salt uint32, seq uint64, payload []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[start+4:], frameChecksum(salt, b[start:]))
	return b
}

// frameChecksum begins with the salt and covers all of a frame but the checksum
// itself.
func frameChecksum(salt uint32, f []byte) uint32 {
	return crc32.Update(crc32.Update(salt, castagnoli, f[:4]), castagnoli, f[8:])
}

// A cut is a part of a log file that is no intact frame.
type cut struct {
	offset, bytes int
	// torn says that the file ends within a frame, as after a crash.
	torn bool
}

// parseFrames calls fn for each intact frame after the header, in order. What
// lies between is returned. Sequence numbers rise; where some are missing without
// a cut, the bytes of a whole frame are gone, and a cut of no bytes says so.
func parseFrames(b []byte, salt uint32, next uint64, fn func(seq uint64, payload []byte)) []cut {
	var cuts []cut
	at := min(logHeaderSize, len(b))
	for at < len(b) {
		seq, payload, ok := frameAt(b[at:], salt, next)
		if ok {
			if seq != next && (len(cuts) == 0 || cuts[len(cuts)-1].offset+cuts[len(cuts)-1].bytes != at) {
				cuts = append(cuts, cut{offset: at})
			}
			fn(seq, payload)
			next = seq + 1
			at += frameHeader + len(payload)
			continue
		}
		end := at + 1
		for end < len(b) {
			if _, _, ok := frameAt(b[end:], salt, next); ok {
				break
			}
			end++
		}
		c := cut{offset: at, bytes: end - at}
		if end == len(b) {
			rest := b[at:]
			c.torn = len(rest) < frameHeader || uint64(binary.LittleEndian.Uint32(rest)) > uint64(len(rest)-frameHeader)
		}
		cuts = append(cuts, c)
		at = end
	}
	return cuts
}

// maxSkip is how many frames may be missing before one that is still believed:
// the checksum is only computed where the number can be right.
const maxSkip = 1 << 20

func frameAt(b []byte, salt uint32, next uint64) (seq uint64, payload []byte, ok bool) {
	if len(b) < frameHeader {
		return 0, nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	seq = binary.LittleEndian.Uint64(b[8:])
	if n > maxFrame || int(n) > len(b)-frameHeader || seq < next || seq-next > maxSkip {
		return 0, nil, false
	}
	f := b[:frameHeader+int(n)]
	if frameChecksum(salt, f) != binary.LittleEndian.Uint32(f[4:]) {
		return 0, nil, false
	}
	return seq, f[frameHeader:], true
}

// appendChecksum ends a header.
func appendChecksum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}
