package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
)

// A manifest names all segments. It is replaced as a whole: what it does not name
// does not exist.
type manifest struct {
	Format int `json:"format"`
	// Serial counts the manifests written.
	Serial uint64 `json:"serial"`
	// Next is the next number of a file.
	Next uint64 `json:"next"`
	// Sealed is the last frame of the log that is in segments.
	Sealed uint64 `json:"sealed"`
	// Open is the number of the file with the connections open at Sealed; 0 is
	// none.
	Open uint64 `json:"open,omitempty"`
	// Agents is what was kept of each.
	Agents []agentState `json:"agents,omitempty"`
	// Segments, by ascending number.
	Segments []segmentInfo `json:"segments"`
}

// An agentState is the newest batch of one epoch of an agent.
type agentState struct {
	Agent    string `json:"agent"`
	Epoch    uint64 `json:"epoch"`
	Sequence uint64 `json:"sequence"`
	// Alive is until when its connections were known to be alive.
	Alive int64 `json:"alive"`
}

// A segmentInfo is one segment.
type segmentInfo struct {
	Number uint64 `json:"number"`
	Table  string `json:"table"`
	Day    string `json:"day"`
	Rows   uint64 `json:"rows"`
	Bytes  int64  `json:"bytes"`
	First  int64  `json:"first"`
	Last   int64  `json:"last"`
	Start  int64  `json:"start,omitempty"`
	Cover  int64  `json:"cover,omitempty"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	// Footer is the CRC-32C of the last footerBytes bytes of the file.
	Footer uint32 `json:"footer"`
	// Blooms are the CRC-32C of the bloom filters.
	Blooms []uint32 `json:"blooms,omitempty"`
	// replaces is known while a manifest is built again only.
	replaces []uint64
}

// footerBytes is how much of the end of a segment the manifest's checksum covers;
// pages have checksums of their own.
const footerBytes = 64 << 10

func (s *segmentInfo) name() string {
	return s.Table + "/day=" + s.Day + "/" + numbered(s.Number) + segmentSuffix
}

const (
	segmentSuffix = ".parquet"
	logSuffix     = ".wal"
	openSuffix    = ".open"
	manifestName  = "MANIFEST"
	lockName      = "LOCK"
	logDir        = "wal"
	damagedDir    = "damaged"
)

// numbered writes the number of a file so that names sort by it.
func numbered(n uint64) string { return fmt.Sprintf("%010d", n) }

func logName(n uint64) string  { return logDir + "/" + numbered(n) + logSuffix }
func openName(n uint64) string { return logDir + "/" + numbered(n) + openSuffix }

// dayOf names the UTC day of a time.
func dayOf(nanos int64) string { return time.Unix(0, nanos).UTC().Format(time.DateOnly) }

// manifestMagic begins a manifest; the version and a checksum follow.
const manifestMagic = "viewtcp-manifest"

func (m *manifest) encode() ([]byte, error) {
	m.Format = formatVersion
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("%s %d %08x\n", manifestMagic, formatVersion, crc32.Checksum(body, castagnoli))
	return append([]byte(head), body...), nil
}

// parseManifest reads a manifest. Its errors wrap ErrVersion or ErrDamaged.
func parseManifest(b []byte) (*manifest, error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	words := bytes.Fields(head)
	if !ok || len(words) != 3 || string(words[0]) != manifestMagic {
		return nil, fmt.Errorf("manifest: first line: %w", store.ErrDamaged)
	}
	sum, err := strconv.ParseUint(string(words[2]), 16, 32)
	if err != nil || crc32.Checksum(body, castagnoli) != uint32(sum) {
		return nil, fmt.Errorf("manifest: checksum: %w", store.ErrDamaged)
	}
	if v := string(words[1]); v != strconv.Itoa(formatVersion) {
		return nil, fmt.Errorf("manifest of version %.20q: %w", v, store.ErrVersion)
	}
	m := new(manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", store.ErrDamaged, err)
	}
	for i := range m.Segments {
		s := &m.Segments[i]
		if _, err := time.Parse(time.DateOnly, s.Day); err != nil || tableByName(s.Table) == nil {
			return nil, fmt.Errorf("manifest: segment %d of table %.20q, day %.20q: %w", s.Number, s.Table, s.Day, store.ErrVersion)
		}
	}
	return m, nil
}

func tableByName(name string) *table {
	for _, t := range tables {
		if t.String() == name {
			return t
		}
	}
	return nil
}
