package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/disk"
)

// Endings of the files of a recording.
const (
	extLive    = ".pcapng.part"
	extSealed  = ".pcapng"
	extIndex   = ".idx"
	extDamaged = ".damaged"
	extTemp    = ".tmp"
)

// segmentName finds base, number and ending in the name of a file.
var segmentName = regexp.MustCompile(`^(packets-\d{8}T\d{6}Z-(\d{6,18}))(\.pcapng\.part|\.pcapng|\.idx|\.damaged|\.idx\.tmp)$`)

func baseName(start int64, number uint64) string {
	return fmt.Sprintf("packets-%s-%06d", time.Unix(0, start).UTC().Format("20060102T150405Z"), number)
}

// parseName splits the name of a file of a recording.
func parseName(name string) (base string, number uint64, ext string, ok bool) {
	m := segmentName.FindStringSubmatch(name)
	if m == nil {
		return "", 0, "", false
	}
	number, err := strconv.ParseUint(m[2], 10, 64)
	return m[1], number, m[3], err == nil
}

// countingFile knows how much of the file is written.
type countingFile struct {
	f *os.File
	n int64
}

func (c *countingFile) Write(b []byte) (int, error) {
	n, err := c.f.Write(b)
	c.n += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}

// openSegment is the segment that is written.
type openSegment struct {
	base    string
	number  uint32 // tells this segment from others in connState
	file    *countingFile
	w       *Writer
	head    int64 // length of what stands before the first packet
	began   int64
	latest  int64
	flushed int64
	missing uint64 // of all, when it began
}

// recordFlush is how much is written at a time: in large pieces the file system
// has the least to do, and so has the runtime, which looks after each system call
// that takes long.
const recordFlush = 2 << 20

// begin makes a new segment. r.mu is held, and none is open.
func (r *Recorder) begin(at int64) error {
	r.retain(r.cfg.SegmentBytes)
	base := baseName(at, r.number+1)
	f, err := os.OpenFile(filepath.Join(r.dir, base+extLive), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("beginning a segment: %w", err)
	}
	o := &openSegment{base: base, file: &countingFile{f: f}, began: at, flushed: at, missing: r.missing()}
	o.w, err = NewWriter(o.file, WriterOptions{
		Section:    Section{Application: r.cfg.Application, Comments: r.comments()},
		Interfaces: r.ifaces,
	})
	if err == nil {
		err = o.w.Flush()
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(f.Name())
		return fmt.Errorf("beginning segment %s: %w", base, err)
	}
	o.w.full = recordFlush
	r.number++
	o.number, o.head = uint32(r.number), o.w.Offset()
	r.open = o
	return nil
}

// The sentences that say in each segment what is not in it. They are read again
// when an index must be built anew.
const (
	sampleSentence   = "sampled: one in %d connections, by the hash of its addresses and ports"
	cutoffSentence   = "cut off by packets: after %d of a direction only SYN, FIN, RST and retransmissions are kept"
	cutBytesSentence = "cut off by bytes: after %d of payload of a direction only SYN, FIN, RST and retransmissions are kept"
)

func (r *Recorder) comments() []string {
	c := []string{"ViewTCP recording: headers only"}
	if r.cfg.Snaplen > 0 {
		c[0] = fmt.Sprintf("ViewTCP recording: headers and up to %d bytes of each packet", r.cfg.Snaplen)
	}
	if r.cfg.SampleRate > 1 {
		c = append(c, fmt.Sprintf(sampleSentence, r.cfg.SampleRate))
	}
	if r.cfg.Cutoff.Packets > 0 {
		c = append(c, fmt.Sprintf(cutoffSentence, r.cfg.Cutoff.Packets))
	}
	if r.cfg.Cutoff.Bytes > 0 {
		c = append(c, fmt.Sprintf(cutBytesSentence, r.cfg.Cutoff.Bytes))
	}
	return c
}

// metaOf reads what comments wrote.
func metaOf(comments []string) indexMeta {
	m := indexMeta{sample: 1}
	for _, c := range comments {
		// What is no such sentence leaves the numbers as they are.
		_, _ = fmt.Sscanf(c, sampleSentence, &m.sample)
		_, _ = fmt.Sscanf(c, cutoffSentence, &m.cutoff.Packets)
		_, _ = fmt.Sscanf(c, cutBytesSentence, &m.cutoff.Bytes)
	}
	return m
}

// fail ends a segment that could not be written to: what did reach the disk
// stays, the rest is counted as lost. r.mu is held.
func (r *Recorder) fail(err error) {
	o := r.open
	whole := r.built.packets
	end := o.w.Offset() // where the packet after the last would begin
	for len(whole) > 0 && end > o.file.n {
		end = int64(whole[len(whole)-1].at) * 4
		whole = whole[:len(whole)-1]
	}
	if lost := uint64(len(r.built.packets) - len(whole)); lost > 0 {
		r.built.drop(len(whole))
		r.stats.Recorded -= lost
		r.lose(lost, err)
	}
	r.open = nil
	r.stop(err)
	if len(whole) == 0 {
		r.built.reset()
		_ = o.file.f.Close()
		_ = os.Remove(o.file.f.Name())
		return
	}
	if errTruncate := o.file.f.Truncate(end); errTruncate != nil {
		// A torn block is cut off by the repair.
		r.stats.SealErr = fmt.Errorf("cutting segment %s: %w", o.base, errTruncate)
		r.built.reset()
		_ = o.file.f.Close()
		return
	}
	o.file.n = end
	r.seal(o)
}

// stop notes why recording stands still.
func (r *Recorder) stop(err error) {
	r.stats.Err, r.stats.Since = err, r.now
}

// rotate ends the open segment, if there is one, and reports whether all of it
// could be written. r.mu is held.
func (r *Recorder) rotate() bool {
	o := r.open
	if o == nil {
		return true
	}
	var err error
	for id := range uint32(len(r.ifaces)) {
		if s, ok := r.drops[id]; ok && err == nil {
			err = o.w.WriteStats(id, r.now, &s)
		}
	}
	if err == nil {
		err = o.w.Flush()
	}
	if err != nil {
		r.fail(err)
		return false
	}
	r.open = nil
	r.seal(o)
	return true
}

// seal hands a segment that is written to a goroutine that makes it last. r.mu is
// held; only one segment is sealed at a time, so that a disk that is too slow
// holds recording up here.
func (r *Recorder) seal(o *openSegment) {
	r.sealing <- struct{}{}
	built := r.built
	if r.built, r.spare = r.spare, nil; r.built == nil {
		r.built = new(indexBuilder)
	}
	meta := indexMeta{size: o.file.n, sample: r.cfg.SampleRate, cutoff: r.cfg.Cutoff, lost: r.missing() - o.missing}
	// It counts for the bounds from now on.
	r.sealed = append(r.sealed, sealedSegment{base: o.base, size: o.file.n + built.size(), last: max(o.began, o.latest)})
	r.wg.Go(func() {
		err := sealSegment(r.dir, o, built.encode(meta))
		built.reset()
		<-r.sealing
		r.mu.Lock()
		defer r.mu.Unlock()
		r.spare = built
		if err != nil {
			r.stats.SealErr = err
			r.unsealed = append(r.unsealed, o.base)
		}
	})
}

// sealAgain seals what could not be, from what is on disk. r.mu is held, and no
// segment is being sealed.
func (r *Recorder) sealAgain() {
	left := r.unsealed[:0]
	var err error
	for _, base := range r.unsealed {
		_, repair := repairSegment(r.dir, base, extLive)
		if repair != nil && repair.Err != nil && !errors.Is(repair.Err, os.ErrNotExist) {
			err = fmt.Errorf("sealing segment %s: %w", base, repair.Err)
			left = append(left, base)
		}
	}
	r.unsealed, r.stats.SealErr, r.sealedAt = left, err, r.now
}

// sealSegment does what docs/format.md says of sealing.
func sealSegment(dir string, o *openSegment, index []byte) error {
	if err := errors.Join(o.file.f.Sync(), o.file.f.Close()); err != nil {
		return fmt.Errorf("sealing segment %s: %w", o.base, err)
	}
	return finishSegment(dir, o.base, index)
}

// finishSegment puts the index beside a segment that is on disk, and gives the
// segment its name.
func finishSegment(dir, base string, index []byte) error {
	path := filepath.Join(dir, base)
	err := writeFile(path+extIndex+extTemp, index)
	if err == nil {
		err = os.Rename(path+extIndex+extTemp, path+extIndex)
	}
	if err == nil {
		err = os.Rename(path+extLive, path+extSealed)
		if errors.Is(err, os.ErrNotExist) {
			// It had its name already, or retention was faster.
			err = nil
		}
	}
	if err == nil {
		err = disk.SyncDir(dir)
	}
	if err != nil {
		_ = os.Remove(path + extIndex + extTemp)
		return fmt.Errorf("sealing segment %s: %w", base, err)
	}
	return nil
}

// writeFile writes a file that is on disk when it returns.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// retain removes the oldest segments until all, and so many bytes more, are
// within the bounds. r.mu is held.
func (r *Recorder) retain(more int64) {
	total := more
	for _, s := range r.sealed {
		total += s.size
	}
	if more == 0 && r.open != nil {
		total += r.open.w.Offset() + r.built.size()
	}
	for len(r.sealed) > 0 {
		s := r.sealed[0]
		if total <= r.cfg.TotalBytes && r.now-s.last <= int64(r.cfg.TotalAge) {
			return
		}
		removeSegment(r.dir, s.base)
		total -= s.size
		r.sealed = r.sealed[1:]
		r.stats.Removed++
	}
}

// removeSegment removes all files of a segment, the index last: without its
// segment it means nothing.
func removeSegment(dir, base string) {
	for _, ext := range []string{extLive, extSealed, extDamaged, extIndex} {
		_ = os.Remove(filepath.Join(dir, base+ext))
	}
}
