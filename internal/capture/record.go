package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/disk"
)

// RecorderConfig says what is recorded and how much of it is kept.
type RecorderConfig struct {
	// Interfaces are those that frames will be of, in the order of
	// Frame.Interface. Others are added when a frame of them comes.
	Interfaces []Interface
	// Snaplen is how much of a frame is kept, bytes. 0 is up to the end of its
	// TCP header, so that no payload reaches the disk; that much is kept always.
	Snaplen uint32
	// SegmentBytes and SegmentAge bound one file with its index.
	SegmentBytes int64
	SegmentAge   time.Duration
	// TotalBytes and TotalAge bound all files: the oldest are removed.
	TotalBytes int64
	TotalAge   time.Duration
	// Cutoff bounds what is kept of each connection.
	Cutoff Cutoff
	// SampleRate is n to record one in n connections, all of its packets; 0 and
	// 1 are every connection.
	SampleRate uint32
	// MaxConns is how many connections are remembered for cut-off and index. One
	// that is forgotten begins to count anew.
	MaxConns int
	// Retry is how long recording stops after the disk refused a write.
	Retry time.Duration
	// Application names who records, in the files.
	Application string
}

// DefaultRecorderConfig returns the configuration for a host: the headers of
// everything, 1 GiB of them.
func DefaultRecorderConfig() RecorderConfig {
	return RecorderConfig{
		SegmentBytes: 64 << 20, SegmentAge: time.Hour,
		TotalBytes: 1 << 30, TotalAge: 24 * time.Hour,
		MaxConns: 1 << 18,
		Retry:    5 * time.Second, Application: "ViewTCP",
	}
}

func (c RecorderConfig) check() (RecorderConfig, error) {
	def := DefaultRecorderConfig()
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.SegmentBytes, def.SegmentBytes)
	set(&c.TotalBytes, def.TotalBytes)
	set((*int64)(&c.SegmentAge), int64(def.SegmentAge))
	set((*int64)(&c.TotalAge), int64(def.TotalAge))
	set((*int64)(&c.Retry), int64(def.Retry))
	if c.MaxConns == 0 {
		c.MaxConns = def.MaxConns
	}
	switch {
	case c.SegmentBytes < minSegment || c.SegmentBytes > maxSegment:
		return c, fmt.Errorf("segments of %d bytes: want %d to %d", c.SegmentBytes, minSegment, int64(maxSegment))
	case c.TotalBytes < 2*c.SegmentBytes:
		return c, fmt.Errorf("%d bytes in all: want two segments of %d at least", c.TotalBytes, c.SegmentBytes)
	case c.SegmentAge < 0 || c.TotalAge < 0 || c.Retry < 0 || c.MaxConns < 0:
		return c, errors.New("a negative limit")
	case c.Snaplen > MaxFrame:
		return c, fmt.Errorf("snaplen %d: want %d at most", c.Snaplen, MaxFrame)
	}
	return c, nil
}

const (
	minSegment = 64 << 10
	maxSegment = 8 << 30 // offsets are 32 bits of 4 bytes
	// flushEvery is how long a packet may wait in memory, by the times of
	// packets; Tick flushes too.
	flushEvery = int64(time.Second)
	// maxRecordInterfaces bounds what frames may add.
	maxRecordInterfaces = 1024
)

// ErrRecorderRunning says that another recorder has the directory.
var ErrRecorderRunning = errors.New("another recorder is running")

// RecorderStats counts since the recorder began. Every segment given to Add is
// in exactly one of the four counts after it:
// Added = Recorded + Cut + Unsampled + Lost.
type RecorderStats struct {
	Added uint64
	// Recorded are written, or wait to be.
	Recorded uint64
	// Cut were left out by the cut-off, Unsampled by the sampling.
	Cut, Unsampled uint64
	// Lost could not be written.
	Lost uint64
	// Forgotten are connections that were dropped from memory to make room.
	Forgotten uint64
	// Segments and Bytes are on disk, indexes included; Removed are segments
	// that the bounds took away.
	Segments int
	Bytes    int64
	Removed  uint64
	// Err is why recording stands still, since the time Since (nanoseconds since
	// 1970); nil is recording.
	Err   error
	Since int64
	// SealErr is why a segment could not be sealed. What was recorded is still
	// there, and Tick tries again.
	SealErr error
	// Repairs tells what was found and mended at the start.
	Repairs []Repair
}

// Recorder keeps the recent past of all connections on disk. Its methods may be
// called by several goroutines.
type Recorder struct {
	cfg  RecorderConfig
	dir  string
	lock *os.File

	mu     sync.Mutex // guards all below
	stats  RecorderStats
	table  *connTable
	ifaces []Interface
	drops  map[uint32]InterfaceStats
	open   *openSegment // nil until the next packet
	built  *indexBuilder
	spare  *indexBuilder // of a segment that was sealed
	number uint64        // of the last segment
	sealed []sealedSegment
	now    int64  // the latest time seen
	gap    uint64 // lost or dropped since the last packet that was written
	gapWhy error
	// dropped are packets that the system did not hand out; they were never added.
	dropped uint64
	closed  bool

	unsealed []string // segments that could not be sealed
	sealedAt int64    // when that was tried last

	sealing chan struct{} // holds one: a segment is being sealed
	wg      sync.WaitGroup
}

// sealedSegment is a segment that retention may remove.
type sealedSegment struct {
	base string
	size int64
	last int64
}

// NewRecorder opens a directory, made if need be, repairs what a crash left in
// it, and records into it. While another recorder has it the error wraps
// ErrRecorderRunning. Close ends it.
func NewRecorder(dir string, cfg RecorderConfig) (*Recorder, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("recording packets: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("recording packets: %w", err)
	}
	lock, err := disk.Lock(filepath.Join(dir, "lock"), 0o600)
	if errors.Is(err, disk.ErrLocked) {
		err = ErrRecorderRunning
	}
	if err != nil {
		return nil, fmt.Errorf("recording packets into %q: %w", dir, err)
	}
	r := &Recorder{
		cfg: cfg, dir: dir, lock: lock, table: newConnTable(cfg.MaxConns, cfg.Cutoff != Cutoff{}), ifaces: cfg.Interfaces[:len(cfg.Interfaces):len(cfg.Interfaces)],
		drops: make(map[uint32]InterfaceStats), built: new(indexBuilder), sealing: make(chan struct{}, 1),
	}
	found, err := repairDir(dir)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("recording packets into %q: %w", dir, err)
	}
	r.sealed, r.number, r.stats.Repairs = found.sealed, found.number, found.repairs
	return r, nil
}

// Add records a frame that Decode found the segment of, with its comment if that
// is no longer than 512 bytes. It returns at once but for writing to the disk;
// whatever cannot be written is counted, not returned.
func (r *Recorder) Add(f *Frame, s *Segment) {
	key, dir := keyOf(&s.Tuple)
	r.mu.Lock()
	r.add(f, s, &key, dir)
	r.mu.Unlock()
}

// add is Add under r.mu.
func (r *Recorder) add(f *Frame, s *Segment, key *connKey, dir int) {
	r.stats.Added++
	c, cut, isNew := r.table.get(key)
	if isNew {
		c.unsampled = !key.sampled(r.cfg.SampleRate)
	}
	if c.unsampled {
		r.stats.Unsampled++
		return
	}
	keep := cut == nil || cut.keep(s, dir, r.cfg.Cutoff)
	if f.Time > r.now {
		r.now = f.Time
	}
	if err := r.ready(f); err != nil {
		if keep {
			r.lose(1, err)
		} else {
			r.stats.Cut++
		}
		return
	}
	if c.segment != r.open.number {
		c.segment, c.conn = r.open.number, r.built.add(key)
	}
	if !keep {
		r.stats.Cut++
		r.built.conns[c.conn].cut++
		return
	}
	r.write(f, s, c.conn)
}

// lose counts segments that cannot be written.
func (r *Recorder) lose(n uint64, why error) {
	r.stats.Lost += n
	r.gap += n
	r.gapWhy = why
}

var (
	errRecorderClosed = errors.New("the recorder is closed")
	errInterface      = errors.New("its interface was not announced")
	errDropped        = errors.New("the kernel dropped them")
)

// ready makes sure that there is a segment to write the frame to. r.mu is held.
func (r *Recorder) ready(f *Frame) error {
	if r.closed {
		return errRecorderClosed
	}
	if err := r.stats.Err; err != nil {
		// A clock that was set back must not stop recording for long.
		if waited := r.now - r.stats.Since; waited < int64(r.cfg.Retry) && f.Time >= r.stats.Since {
			return err
		}
	}
	if !r.knows(f) && !r.introduce(f) {
		return errInterface
	}
	if o := r.open; o != nil && (o.w.Offset()+r.built.size()+int64(len(f.Data)+len(f.Comment))+maxPacketExtra > r.cfg.SegmentBytes ||
		f.Time-o.began >= int64(r.cfg.SegmentAge)) {
		if !r.rotate() {
			return r.stats.Err
		}
	}
	if r.open == nil {
		if err := r.begin(f.Time); err != nil {
			r.stop(err)
			return err
		}
		r.stats.Err, r.stats.Since = nil, 0
	}
	return nil
}

// knows reports whether the segment describes the frame's interface.
func (r *Recorder) knows(f *Frame) bool {
	return uint64(f.Interface) < uint64(len(r.ifaces)) && r.ifaces[f.Interface].Link == f.Link
}

// introduce adds an interface that was not announced. It begins a new segment,
// so that all descriptions stand before all packets.
func (r *Recorder) introduce(f *Frame) bool {
	if int(f.Interface) != len(r.ifaces) || len(r.ifaces) >= maxRecordInterfaces {
		return false
	}
	r.ifaces = append(r.ifaces, Interface{Link: f.Link})
	return r.rotate()
}

// maxPacketExtra is what a packet takes besides its data: its block, options, and
// its part of the index.
const maxPacketExtra = 1024

// maxRecordComment is the longest comment of a frame that is recorded with it.
const maxRecordComment = 512

// write puts the frame into the segment. r.mu is held.
func (r *Recorder) write(f *Frame, s *Segment, conn uint32) {
	o := r.open
	comment, gap := "", r.gap
	if gap > 0 {
		comment = fmt.Sprintf("ViewTCP: %d packets before this one are lost: %v", gap, r.gapWhy)
		r.gap = 0
	}
	r.built.packet(conn, o.w.Offset(), f.Time)
	o.latest = max(o.latest, f.Time)
	r.stats.Recorded++
	// The frame is the caller's, and cheaper to change for a moment than to copy.
	data, own, dropped := f.Data, f.Comment, f.Dropped
	f.Dropped = gap
	f.Data = data[:keepLen(f, s, r.cfg.Snaplen)]
	if len(own) > maxRecordComment {
		f.Comment = ""
	}
	err := o.w.Write(f, comment)
	f.Data, f.Comment, f.Dropped = data, own, dropped
	if err == nil && f.Time-o.flushed >= flushEvery {
		o.flushed = f.Time
		err = o.w.Flush()
	}
	if err != nil {
		r.fail(err)
	}
}

// keepLen is how much of a frame is kept: up to the end of the TCP header at
// least.
func keepLen(f *Frame, s *Segment, snaplen uint32) int {
	header := int(s.TCPOffset) + int(s.HeaderLen)
	if s.HeaderLen == 0 {
		header = int(s.TCPOffset) + 8 // quoted as far as ICMP must (RFC 792)
	}
	return min(max(header, int(snaplen)), len(f.Data), MaxFrame)
}

// Tick is called about each second: it writes out what waits in memory, and
// applies the bounds of age although no packet comes.
func (r *Recorder) Tick(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.now = now.UnixNano()
	if o := r.open; o != nil {
		if r.now-o.began >= int64(r.cfg.SegmentAge) {
			r.rotate()
		} else if err := o.w.Flush(); err != nil {
			r.fail(err)
		} else {
			o.flushed = r.now
		}
	}
	r.retain(0)
	if len(r.unsealed) > 0 && r.now-r.sealedAt >= int64(r.cfg.Retry) {
		select {
		case r.sealing <- struct{}{}:
			r.sealAgain()
			<-r.sealing
		default: // the disk is busy with another one
		}
	}
}

// Drops tells the recorder the counters of an interface since the capture began.
// They stand at the end of each segment, and what the system dropped counts as
// missing in the segment that is open.
func (r *Recorder) Drops(id uint32, s InterfaceStats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before := r.drops[id].OSDropped; s.OSDropped > before {
		r.dropped += s.OSDropped - before
		r.gap += s.OSDropped - before
		r.gapWhy = errDropped
	}
	r.drops[id] = s
}

// missing are the packets that are in no segment and should be.
func (r *Recorder) missing() uint64 { return r.stats.Lost + r.dropped }

// Stats returns the counts so far.
func (r *Recorder) Stats() RecorderStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.stats
	st.Forgotten = r.table.forgotten
	st.Segments = len(r.sealed)
	for _, s := range r.sealed {
		st.Bytes += s.size
	}
	if r.open != nil {
		st.Segments++
		st.Bytes += r.open.w.Offset()
	}
	return st
}

// Close seals what is open and lets the directory go. What it returns is the last
// error of the disk, if recording stood still or a segment could not be sealed.
func (r *Recorder) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.rotate()
	r.closed = true
	r.mu.Unlock()
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsealed) > 0 {
		r.sealAgain()
	}
	if err := errors.Join(r.stats.Err, r.stats.SealErr, r.lock.Close()); err != nil {
		return fmt.Errorf("recording packets into %q: %w", r.dir, err)
	}
	return nil
}
