package bundle

import (
	"errors"
	"time"
)

// Names of what is in a bundle.
const (
	ManifestName    = "manifest.json"
	ReadmeName      = "README.txt"
	ConnectionsName = "connections.jsonl"
	SamplesName     = "samples.jsonl"
	EventsName      = "events.jsonl"
	UsageName       = "usage.jsonl"
	PacketsName     = "packets.pcapng"
	DoctorName      = "doctor.json"
	ConfigName      = "config.yaml"
)

// names are the files that a bundle may have, besides its manifest.
var names = []string{
	ReadmeName, ConnectionsName, SamplesName, EventsName, UsageName, PacketsName, DoctorName, ConfigName,
}

// formatName and formatVersion begin a manifest.
const (
	formatName    = "viewtcp-bundle"
	formatVersion = 1
)

// Manifest says what a bundle is.
type Manifest struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	// ViewTCP is the version that wrote it.
	ViewTCP string    `json:"viewtcp"`
	Created time.Time `json:"created"`
	Host    string    `json:"host"`
	OS      string    `json:"os,omitempty"`
	// From and To are the range that was asked for.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Filter chose connections, events and packets; empty is all.
	Filter      string `json:"filter,omitempty"`
	Anonymized  bool   `json:"anonymized"`
	HeadersOnly bool   `json:"headers_only"`
	Files       []File `json:"files"`
	// Missing says what is not in here and why, one sentence each.
	Missing []string `json:"missing,omitempty"`
	// Gaps are the times that nobody watched, or of which data was lost.
	Gaps []Gap `json:"gaps,omitempty"`
}

// File is one file of a bundle.
type File struct {
	Name string `json:"name"`
	// Size is bytes, not compressed. SHA256 is of them, in hexadecimal.
	Size   uint64 `json:"size"`
	SHA256 string `json:"sha256"`
	// Rows counts the rows of .jsonl files.
	Rows uint64 `json:"rows,omitempty"`
}

// Gap is a time that is not complete.
type Gap struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Reason string    `json:"reason"`
}

// File returns the entry of a file.
func (m *Manifest) File(name string) (File, bool) {
	for _, f := range m.Files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}

// Errors of bundles.
var (
	// ErrFormat says that a file is no bundle, or one that was changed.
	ErrFormat = errors.New("no intact bundle")
	// ErrVersion says that a bundle is of a format that this program does not
	// know.
	ErrVersion = errors.New("bundle of an unknown version")
	// ErrTooLarge says that a bundle holds more than it may.
	ErrTooLarge = errors.New("bundle is too large")
)

// Bounds of what is read. What is written keeps within them.
const (
	maxManifest = 4 << 20
	maxFile     = 2 << 30 // one file, not compressed
	maxTotal    = 4 << 30
	// maxRatio is how much smaller than its contents a file may be once these are
	// more than freeBytes. Rows and packets shrink to a thirtieth at best.
	maxRatio  = 200
	freeBytes = 64 << 20
)
