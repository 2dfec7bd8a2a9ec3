package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/bpf"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// recordFlags are those of a recording.
type recordFlags struct {
	dir    string
	size   string
	age    time.Duration
	cutoff string
	sample uint32

	cfg capture.RecorderConfig
}

func (r *recordFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&r.dir, "record", "", "record the headers of packets into this directory, for viewtcp export; -s keeps payload too")
	fs.StringVar(&r.size, "record-size", "1GiB", "with --record: keep so much and remove the oldest")
	fs.DurationVar(&r.age, "record-age", 24*time.Hour, "with --record: keep packets for so long")
	fs.StringVar(&r.cutoff, "cut-off", "", "with --record: of each direction of a connection keep so many packets, or bytes as in 1MiB, and beyond that only SYN, FIN, RST and what is sent again")
	fs.Uint32Var(&r.sample, "sample", 1, "with --record: record one in so many connections, all of its packets")
}

// check reads the flags into a configuration.
func (r *recordFlags) check(c *captureFlags) error {
	r.cfg = capture.DefaultRecorderConfig()
	if r.dir == "" {
		if r.cutoff != "" || r.sample != 1 {
			return usagef("--cut-off and --sample are for --record DIR")
		}
		return nil
	}
	size, err := filter.ParseSize(r.size)
	if err != nil || size < 256<<10 || size > 1<<50 {
		return usagef("--record-size %s: it is 256KiB at least, as in 2GiB", r.size)
	}
	if r.age < time.Second {
		return usagef("--record-age %s: it is a second at least", r.age)
	}
	if r.sample == 0 {
		return usagef("--sample 0: it is 1 for every connection, or more")
	}
	r.cfg.TotalBytes, r.cfg.TotalAge = int64(size), r.age
	r.cfg.SegmentBytes = min(r.cfg.SegmentBytes, int64(size)/4)
	r.cfg.SegmentAge = min(r.cfg.SegmentAge, r.age)
	r.cfg.SampleRate, r.cfg.Snaplen = r.sample, c.snaplen
	r.cfg.Application = "ViewTCP " + version
	r.cfg.Cutoff, err = parseCutoff(r.cutoff)
	if err != nil {
		return usagef("--cut-off %s: %w", r.cutoff, err)
	}
	return nil
}

// parseCutoff reads a cut-off: a number of packets, or a size; "" is none.
func parseCutoff(text string) (capture.Cutoff, error) {
	if text == "" {
		return capture.Cutoff{}, nil
	}
	if n, err := strconv.ParseUint(text, 10, 31); err == nil && n > 0 {
		return capture.Cutoff{Packets: uint32(n)}, nil
	}
	n, err := filter.ParseSize(text)
	if err != nil || n == 0 {
		return capture.Cutoff{}, errors.New("it is a number of packets, or a size as in 1MiB")
	}
	return capture.Cutoff{Bytes: n}, nil
}

// cutInKernel lets the kernel leave out what the cut-off would, where it can: when
// nothing else wants the packets, and all interfaces begin their frames alike. What
// it cannot do is done as packets are recorded.
func (p *capturing) cutInKernel(cfg *capture.LiveConfig, s *space) error {
	limit := p.c.record.cfg.Cutoff
	if limit == (capture.Cutoff{}) || p.kernel != nil || !p.c.onlyRecords() {
		return nil
	}
	found, err := capture.FindLiveInterfaces(cfg.Interfaces, cfg.Do)
	if err != nil {
		return wrongInterface(err)
	}
	c := bpf.DefaultCutoffConfig()
	c.Packets, c.Bytes, c.Snaplen = limit.Packets, limit.Bytes, cfg.Snaplen
	link := found[0].Link
	for _, at := range found {
		if at.Link != link {
			return nil
		}
		c.SkipLoopback = c.SkipLoopback || at.Index == 0
	}
	switch link {
	case capture.LinkEthernet:
		c.LinkHeader = 14
	case capture.LinkLinuxSLL2, capture.LinkRaw:
		c.LinkHeader = 0
	default:
		return nil
	}
	s.cutoff, err = bpf.NewCutoff(c)
	if errors.Is(err, tcp.ErrPermission) || errors.Is(err, tcp.ErrNotSupported) {
		s.cutoff = nil
		return nil
	}
	if err == nil {
		cfg.FilterFD = s.cutoff.FD()
	}
	return err
}

// cutByKernel is how many packets the kernel left out.
func (p *capturing) cutByKernel() (n uint64) {
	for _, s := range p.spaces {
		if s.cutoff == nil {
			continue
		}
		if st, err := s.cutoff.Stats(); err == nil {
			n += st.Cut
		}
	}
	return n
}

// recordSnaplen is how much of a packet the kernel hands over where only headers
// are recorded: enough for tunnels and options.
const recordSnaplen = 256

// retellEvery is how often the process of a connection is recorded again, since
// the file with the first time may be removed before the others.
const retellEvery = time.Minute

// recording is a recorder at work.
type recording struct {
	*capture.Recorder
	ticked time.Time
	told   string // the last trouble
}

func (p *capturing) openRecorder() error {
	cfg := p.c.record.cfg
	for _, s := range p.spaces {
		for _, at := range s.live.Interfaces() {
			i := p.describe(s, at)
			i.SnapLen = p.c.snaplen
			cfg.Interfaces = append(cfg.Interfaces, i)
		}
	}
	r, err := capture.NewRecorder(p.c.record.dir, cfg)
	if err != nil {
		return err
	}
	for _, m := range r.Stats().Repairs {
		p.e.warn(fmt.Sprintf("recording: %s was mended: %s; it has %d packets", m.Segment, m.Reason, m.Packets))
	}
	p.recorder = &recording{Recorder: r}
	return nil
}

// record adds a packet to the recording. p.mu is held.
func (p *capturing) record(s *space, f *capture.Frame, t *capture.Segment, j *joined) {
	c := p.c.comments
	if c != commentsNone && !p.c.noProcess && (j.recorded == 0 || c == commentsAll && f.Time-j.recorded >= int64(retellEvery)) {
		if f.Comment = j.comment(j.side(&t.Tuple)); f.Comment != "" {
			j.recorded = f.Time
		}
	}
	// The recorder knows the interfaces of all namespaces.
	f.Interface += s.base
	p.recorder.Add(f, t)
	f.Interface, f.Comment = f.Interface-s.base, ""
}

// tick tells the recorder the time and the user of trouble. p.mu is held.
func (r *recording) tick(p *capturing, now time.Time) {
	if now.Sub(r.ticked) < time.Second {
		return
	}
	r.ticked = now
	for _, s := range p.spaces {
		r.Drops(s.base, interfaceStats(s))
	}
	r.Tick(now)
	st := r.Stats()
	trouble := ""
	if err := errors.Join(st.Err, st.SealErr); err != nil {
		trouble = err.Error()
	}
	if trouble != r.told {
		if r.told = trouble; trouble != "" {
			p.e.warn(fmt.Sprintf("gap: recording stands still, %d packets are lost so far: %s", st.Lost, trouble))
		} else {
			p.e.warn(fmt.Sprintf("recording goes on; %d packets were lost", st.Lost))
		}
	}
}

// summary says what became of the packets.
func (r *recording) summary(byKernel uint64) string {
	st := r.Stats()
	parts := []string{fmt.Sprintf("%d recorded", st.Recorded)}
	for _, x := range []struct {
		n    uint64
		what string
	}{{byKernel, "cut off by the kernel"}, {st.Cut, "cut off"}, {st.Unsampled, "left out by sampling"}, {st.Lost, "lost on the way to the disk"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return strings.Join(parts, ", ")
}

// interfaceStats are the counters of a namespace's capture.
func interfaceStats(s *space) capture.InterfaceStats {
	st := s.live.Stats()
	return capture.InterfaceStats{
		Received: st.Received + st.Dropped, Dropped: st.Dropped, OSDropped: st.Dropped, Delivered: st.Delivered,
	}
}

// verdictComment adds what the analysis says of a packet to its comment.
func verdictComment(s string, v *analysis.Packet) string {
	if v.Verdict == analysis.VerdictNew {
		return s
	}
	if s == "" {
		s = "viewtcp: "
	} else {
		s += "; "
	}
	s += v.Verdict.String()
	if r := v.Reason.String(); r != "" {
		s += " (" + r + ")"
	}
	return s
}
