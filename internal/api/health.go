package api

import (
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Health is how a daemon does: what it sees, what it cannot see and why.
type Health struct {
	// Status is "ok", "degraded" when something is missing, and "starting" until
	// the first pass over the sockets has ended.
	Status string `json:"status"`
	// Ready says that the first pass over the sockets has ended.
	Ready   bool      `json:"ready"`
	Version string    `json:"version,omitempty"`
	Host    string    `json:"host,omitempty"`
	BootID  string    `json:"boot_id,omitempty"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Source is where connections come from: ebpf, netlink or procfs.
	Source string `json:"source,omitempty"`
	// Warning says in one sentence what is hidden; empty if nothing is.
	Warning string `json:"warning,omitempty"`
	// Features are what the source can and cannot show here.
	Features []tcp.Feature `json:"features,omitempty"`
	// Recorder is absent when no packets are recorded; Packets then says why.
	Recorder *Recorder `json:"recorder,omitempty"`
	Packets  string    `json:"packets,omitempty"`
	// Connections are the tracker's own counts.
	Connections *Counts `json:"connections,omitempty"`
	// Store is absent when nothing is kept.
	Store  *StoreHealth `json:"store,omitempty"`
	Server ServerHealth `json:"server"`
}

// Recorder is how the recorder of packets does.
type Recorder struct {
	Packets uint64 `json:"packets"`
	Dropped uint64 `json:"dropped"`
	Bytes   uint64 `json:"bytes"`
	// First and Last are the times of the packets that there are.
	First time.Time `json:"first,omitzero"`
	Last  time.Time `json:"last,omitzero"`
}

// Counts are tcp.Stats: at every moment opened = closed + open + vanished.
type Counts struct {
	Open            int    `json:"open"`
	Listening       int    `json:"listening"`
	Remnants        int    `json:"remnants"`
	HalfOpen        int    `json:"half_open"`
	Opened          uint64 `json:"opened"`
	Established     uint64 `json:"established"`
	Closed          uint64 `json:"closed"`
	Vanished        uint64 `json:"vanished"`
	HalfOpenEvicted uint64 `json:"half_open_evicted"`
	Rejected        uint64 `json:"rejected"`
	LostCloses      uint64 `json:"lost_closes"`
	LostSent        uint64 `json:"lost_bytes_sent"`
	LostReceived    uint64 `json:"lost_bytes_received"`
	LostEvents      uint64 `json:"lost_events"`
	// LostUnknown says that more was lost than could be counted.
	LostUnknown bool   `json:"lost_unknown,omitempty"`
	Incomplete  string `json:"incomplete,omitempty"`
}

// CountsOf converts a tracker's counts.
func CountsOf(s *tcp.Stats) Counts {
	return Counts{
		Open: s.Open, Listening: s.Listening, Remnants: s.Remnants, HalfOpen: s.HalfOpen,
		Opened: s.Opened, Established: s.Established, Closed: s.Closed, Vanished: s.Vanished,
		HalfOpenEvicted: s.HalfOpenEvicted, Rejected: s.Rejected,
		LostCloses: s.Lost.Closes, LostSent: s.Lost.BytesSent, LostReceived: s.Lost.BytesReceived,
		LostEvents: s.Lost.Events, LostUnknown: s.Lost.Unknown, Incomplete: s.Incomplete,
	}
}

// Stats is the inverse of CountsOf.
func (c *Counts) Stats() tcp.Stats {
	return tcp.Stats{
		Open: c.Open, Listening: c.Listening, Remnants: c.Remnants, HalfOpen: c.HalfOpen,
		Opened: c.Opened, Established: c.Established, Closed: c.Closed, Vanished: c.Vanished,
		HalfOpenEvicted: c.HalfOpenEvicted, Rejected: c.Rejected,
		Lost: tcp.Loss{
			Closes: c.LostCloses, BytesSent: c.LostSent, BytesReceived: c.LostReceived,
			Events: c.LostEvents, Unknown: c.LostUnknown,
		},
		Incomplete: c.Incomplete,
	}
}

// StoreHealth is store.Status for people and programs.
type StoreHealth struct {
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	Since      time.Time `json:"since,omitzero"`
	Rows       uint64    `json:"rows"`
	Refused    uint64    `json:"refused"`
	Unsealed   uint64    `json:"unsealed"`
	SealErrors uint64    `json:"seal_errors"`
	Damages    uint64    `json:"damages"`
	// Bytes is the size of the tables, Log that of the log before them.
	Bytes  int64         `json:"bytes"`
	Log    int64         `json:"log_bytes"`
	Tables []TableHealth `json:"tables"`
}

// TableHealth is the size of one table of the store.
type TableHealth struct {
	Table    string    `json:"table"`
	Segments int       `json:"segments"`
	Rows     uint64    `json:"rows"`
	Bytes    int64     `json:"bytes"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
}

// StoreHealthOf converts an engine's status.
func StoreHealthOf(s *store.Status) *StoreHealth {
	h := &StoreHealth{
		State: s.State.String(), Reason: s.Reason, Since: s.Since, Rows: s.Rows, Refused: s.Refused,
		Unsealed: s.Unsealed, Log: s.Log, SealErrors: s.SealErrors, Damages: s.Damages, Tables: []TableHealth{},
	}
	for _, t := range s.Tables {
		h.Bytes += t.Bytes
		h.Tables = append(h.Tables, TableHealth{
			Table: t.Table.String(), Segments: t.Segments, Rows: t.Rows, Bytes: t.Bytes,
			First: moment(t.First), Last: moment(t.Last),
		})
	}
	return h
}

// moment converts nanoseconds since 1970, of which 0 is unknown.
func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// ServerHealth is how the server itself does.
type ServerHealth struct {
	// Streams are the readers of events and live rows; Queries the questions to
	// the store that are being answered.
	Streams int `json:"streams"`
	Queries int `json:"queries"`
	// Requests counts answers by class of status since the start; Refused those
	// refused for a limit, Denied those without a valid token.
	Requests uint64 `json:"requests"`
	Refused  uint64 `json:"refused"`
	Denied   uint64 `json:"denied"`
}
