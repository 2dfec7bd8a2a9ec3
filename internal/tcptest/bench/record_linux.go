package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// What P11 sends over a virtual cable: packets of a second, connections, payload
// bytes of a packet, and for how long at most.
const (
	recordRate    = 150_000
	recordConns   = 5_000
	recordTrain   = 4 // packets of a connection that follow one another
	recordPayload = 600
	recordWindow  = 10 * time.Second
	recordRounds  = 3
	// recordSize is the recording that a connection is looked for in.
	recordSize = 1 << 30
	recordIf   = "bench0"
)

// sendConfig tells the role "send packets" what to do.
type sendConfig struct {
	Interface string
	Rate      int
	Seconds   float64
}

// recordRoles are the processes of P11.
func recordRoles() []tcptest.Role {
	return []tcptest.Role{
		{Name: "send packets", Run: sendPacketsRole},
		{Name: "record packets", Run: recordPacketsRole},
	}
}

// benchFrame makes an Ethernet frame with a segment; its connection and sequence
// number are changed in place.
func benchFrame() []byte {
	b := make([]byte, 14+20+32+recordPayload)
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	h := ip[20:]
	binary.BigEndian.PutUint16(h[2:], 443)
	h[12], h[13] = 8<<4, byte(capture.ACK)
	copy(h[20:], []byte{1, 1, 8, 10}) // time stamps, as nearly all have
	return b
}

func setBenchFrame(b []byte, conn int, seq uint32) {
	binary.BigEndian.PutUint16(b[34:], uint16(10_000+conn))
	binary.BigEndian.PutUint32(b[38:], seq)
}

// sendPacketsRole sends frames at a rate, and answers how many.
func sendPacketsRole(c *tcptest.Control) error {
	var cfg sendConfig
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq(cfg.Interface)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: int(ifr.Uint32())})
	}
	if err != nil {
		return fmt.Errorf("interface %q: %w", cfg.Interface, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1); err != nil {
		return fmt.Errorf("sending past the queue: %w", err)
	}
	for {
		var start struct{}
		if err := c.Recv(&start); err != nil {
			return err
		}
		frame := benchFrame()
		total := int(float64(cfg.Rate) * cfg.Seconds)
		begin := time.Now()
		sent := 0
		for sent < total {
			due := min(int(time.Since(begin).Seconds()*float64(cfg.Rate)), total)
			for ; sent < due; sent++ {
				setBenchFrame(frame, sent/recordTrain%recordConns, uint32(sent*recordPayload))
				if _, err := unix.Write(fd, frame); err != nil {
					return fmt.Errorf("sending a frame: %w", err)
				}
			}
			time.Sleep(500 * time.Microsecond)
		}
		if err := c.Send(sentPackets{sent, time.Since(begin)}); err != nil {
			return err
		}
	}
}

type sentPackets struct {
	Packets int
	Elapsed time.Duration
}

// recordPacketsRole is the recorder by itself: capture, decode, record.
func recordPacketsRole(c *tcptest.Control) error {
	var dir string
	if err := c.Recv(&dir); err != nil {
		return err
	}
	live := capture.DefaultLiveConfig()
	live.Interfaces, live.Snaplen = []string{recordIf}, 128
	live.RingBytes, live.Gather = 64<<20, time.Second
	l, err := capture.OpenLive(live)
	if err != nil {
		return err
	}
	defer l.Close()
	cfg := capture.DefaultRecorderConfig()
	cfg.Interfaces = []capture.Interface{{Name: recordIf, Link: l.Interfaces()[0].Link}}
	r, err := capture.NewRecorder(dir, cfg)
	if err != nil {
		return err
	}
	go func() {
		var stop struct{}
		_ = c.Recv(&stop)
		l.Stop()
	}()
	if err := c.Send(recorded{}); err != nil {
		return err
	}
	var f capture.Frame
	var s capture.Segment
	for err == nil {
		if err = l.Next(&f); err == nil && capture.Decode(&f, &s) == capture.TCP {
			r.Add(&f, &s)
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if err := r.Close(); err != nil {
		return err
	}
	st := l.Stats()
	return c.Send(recorded{Packets: r.Stats().Recorded, Dropped: st.Dropped + r.Stats().Lost})
}

type recorded struct{ Packets, Dropped uint64 }

// cable is two namespaces and what sends from one to the other.
type cable struct {
	from, to *tcptest.NetNS
	sender   *tcptest.Child
}

func newCable(ctx context.Context, dir string, length time.Duration) (w *cable, err error) {
	w = new(cable)
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.from, err = tcptest.MakeNetNS(dir); err != nil {
		return nil, err
	}
	if w.to, err = tcptest.MakeNetNS(dir); err != nil {
		return nil, err
	}
	for _, step := range []struct {
		ns   *tcptest.NetNS
		args string
	}{
		{w.from, "link add " + recordIf + " type veth peer name " + recordIf + " netns " + w.to.Path()},
		// Nothing but what is sent: no neighbour discovery.
		{w.from, "link set " + recordIf + " addrgenmode none up"},
		{w.to, "link set " + recordIf + " addrgenmode none up"},
	} {
		if _, err := step.ns.Run(ctx, "", append([]string{"ip"}, strings.Fields(step.args)...)...); err != nil {
			return nil, err
		}
	}
	cfg := sendConfig{Interface: recordIf, Rate: recordRate, Seconds: length.Seconds()}
	w.sender, err = tcptest.Launch("send packets", cfg, tcptest.InNetNS(w.from))
	return w, err
}

func (w *cable) close() {
	if w.sender != nil {
		_ = w.sender.Close()
	}
	for _, ns := range []*tcptest.NetNS{w.from, w.to} {
		if ns != nil {
			_ = ns.Close()
		}
	}
}

func (w *cable) send() (sentPackets, error) {
	var s sentPackets
	err := w.sender.Call(struct{}{}, &s)
	return s, err
}

// recordRun is what one capture of the traffic took.
type recordRun struct {
	cpu             time.Duration
	packets, missed uint64
}

func (r recordRun) perPacket() time.Duration {
	if r.packets == 0 {
		return 0
	}
	return r.cpu / time.Duration(r.packets)
}

// underProgram sends while a program captures, which says at its end on standard
// error how many packets it has.
func (w *cable) underProgram(ctx context.Context, numbers func(string) (uint64, error), argv ...string) (recordRun, sentPackets, error) {
	var p *program
	var err error
	if errDo := w.to.Do(func() { p, err = start(ctx, nil, argv...) }); errDo != nil || err != nil {
		return recordRun{}, sentPackets{}, errors.Join(errDo, err)
	}
	defer p.stop()
	if err := sleep(ctx, 2*time.Second); err != nil {
		return recordRun{}, sentPackets{}, err
	}
	all, sent, cpu, err := w.sendBeside(ctx, p.cpu)
	if err != nil {
		return recordRun{}, sent, err
	}
	p.stop()
	n, err := numbers(p.stderr.String())
	if err != nil {
		return recordRun{}, sent, fmt.Errorf("%s: %w in %q", argv[0], err, p.stderr.String())
	}
	return recordRun{cpu: cpu, packets: uint64(sent.Packets), missed: uint64(all.Packets) - min(n, uint64(all.Packets))}, sent, nil
}

// sendBeside returns what a process took while packets were sent. They are sent
// twice, and the second time counts: then all memory has been used before.
func (w *cable) sendBeside(ctx context.Context, cpu func() (time.Duration, error)) (all, sent sentPackets, took time.Duration, err error) {
	var before, after time.Duration
	for range 2 {
		if before, err = cpu(); err != nil {
			return all, sent, 0, err
		}
		if sent, err = w.send(); err != nil {
			return all, sent, 0, err
		}
		if err := sleep(ctx, 1500*time.Millisecond); err != nil { // what waits in the ring
			return all, sent, 0, err
		}
		if after, err = cpu(); err != nil {
			return all, sent, 0, err
		}
		all.Packets += sent.Packets
	}
	return all, sent, after - before, nil
}

// underRecorder sends while the recorder alone captures.
func (w *cable) underRecorder(ctx context.Context, dir string) (recordRun, sentPackets, error) {
	child, err := tcptest.Launch("record packets", dir, tcptest.InNetNS(w.to))
	if err != nil {
		return recordRun{}, sentPackets{}, err
	}
	defer child.Close()
	var got recorded
	if err := child.Recv(&got); err != nil {
		return recordRun{}, sentPackets{}, err
	}
	all, sent, cpu, err := w.sendBeside(ctx, func() (time.Duration, error) { return cpuOfPID(child.PID) })
	if err != nil {
		return recordRun{}, sent, err
	}
	if err := child.Call(struct{}{}, &got); err != nil {
		return recordRun{}, sent, err
	}
	if got.Packets+got.Dropped != uint64(all.Packets) {
		return recordRun{}, sent, fmt.Errorf("%d recorded and %d dropped of %d sent", got.Packets, got.Dropped, all.Packets)
	}
	return recordRun{cpu: cpu, packets: uint64(sent.Packets), missed: got.Dropped}, sent, nil
}

// firstNumber reads the number before a word.
func firstNumber(word string) func(string) (uint64, error) {
	re := regexp.MustCompile(`(\d+) ` + word)
	return func(s string) (uint64, error) {
		m := re.FindStringSubmatch(s)
		if m == nil {
			return 0, fmt.Errorf("no number of packets %s", word)
		}
		return strconv.ParseUint(m[1], 10, 64)
	}
}

// measureRecord is P11: headers of 150,000 packets a second to disk, and finding
// a connection among them.
func measureRecord(ctx context.Context, o *options) (*report, error) {
	r := &report{}
	dir, err := os.MkdirTemp("", "viewtcp-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := findInRecording(r, filepath.Join(dir, "large")); err != nil {
		return r, err
	}
	w, err := newCable(ctx, dir, min(o.window, recordWindow))
	if err != nil {
		return r, err
	}
	defer w.close()

	peer := []string{"tcpdump", "-n", "-s", "128", "-B", "32768", "-Z", "root", "-i", recordIf, "-w", filepath.Join(dir, "peer.pcap")}
	if _, err := exec.LookPath(peer[0]); err != nil {
		r.note("tcpdump is missing, so that it is not measured.")
		peer = nil
	}
	ours := []string{o.viewtcp, "capture", "-n", "--no-process", "-i", recordIf, "--record", filepath.Join(dir, "product")}
	help, err := exec.CommandContext(ctx, o.viewtcp, "capture", "--help").Output()
	if err != nil || !strings.Contains(string(help), "--record ") {
		r.note("This viewtcp does not record, so that only the recorder itself is measured.")
		ours = nil
	}
	var alone, product, theirs []recordRun
	var sent sentPackets
	for i := range recordRounds {
		run, s, err := w.underRecorder(ctx, filepath.Join(dir, "alone"+strconv.Itoa(i)))
		if err != nil {
			return r, err
		}
		alone, sent = append(alone, run), s
		if ours != nil {
			run, _, err := w.underProgram(ctx, firstNumber("recorded"), ours...)
			if err != nil {
				return r, err
			}
			product = append(product, run)
		}
		if peer != nil {
			run, _, err := w.underProgram(ctx, firstNumber("packets? captured"), peer...)
			if err != nil {
				return r, err
			}
			theirs = append(theirs, run)
		}
	}
	a, p, t := medianRun(alone), medianRun(product), medianRun(theirs)
	what := fmt.Sprintf("%s packets a second of %d bytes, %s connections", count(int(float64(sent.Packets)/sent.Elapsed.Seconds())), len(benchFrame()), count(recordConns))
	line := row{
		what: what + ": CPU per packet of capture, decoding, recording and index", ours: describeRun(a),
		limit: "≤ tcpdump's", verdict: open,
	}
	if peer != nil {
		line.peer, line.command = "tcpdump "+describeRun(t), strings.ReplaceAll(strings.Join(peer, " "), dir+"/", "")
		line.verdict = meets(a.perPacket() <= t.perPacket())
	}
	r.add(line)
	if ours != nil {
		r.add(row{
			what: "the same by the command", ours: describeRun(p), peer: line.peer, limit: line.limit,
			command: strings.ReplaceAll(strings.Join(ours, " "), dir+"/", ""), verdict: meets(peer != nil && p.perPacket() <= t.perPacket()),
		})
	}
	return r, nil
}

// medianRun is the run of median cost.
func medianRun(runs []recordRun) recordRun {
	var costs []time.Duration
	for _, r := range runs {
		costs = append(costs, r.perPacket())
	}
	m := median(costs)
	for _, r := range runs {
		if r.perPacket() == m {
			return r
		}
	}
	return recordRun{}
}

func describeRun(r recordRun) string {
	return fmt.Sprintf("%d ns (%s packets, %s not captured)", r.perPacket().Nanoseconds(), count(int(r.packets)), count(int(r.missed)))
}

// findInRecording makes a recording as large as one gets, and takes connections
// out of it.
func findInRecording(r *report, dir string) error {
	cfg := capture.DefaultRecorderConfig()
	cfg.TotalBytes = recordSize
	cfg.Interfaces = []capture.Interface{{Name: recordIf, Link: capture.LinkEthernet}}
	rec, err := capture.NewRecorder(dir, cfg)
	if err != nil {
		return err
	}
	frame := benchFrame()
	f := capture.Frame{Link: capture.LinkEthernet, Data: frame, WireLen: uint32(len(frame))}
	var s capture.Segment
	at := time.Now().UnixNano()
	const conns = 50_000
	for i := 0; ; i++ {
		setBenchFrame(frame, i%conns, uint32(i/conns*recordPayload))
		f.Time = at + int64(i)*1_000_000_000/recordRate
		capture.Decode(&f, &s)
		rec.Add(&f, &s)
		if i%100_000 == 0 && rec.Stats().Bytes > recordSize*9/10 {
			break
		}
	}
	if err := rec.Close(); err != nil {
		return err
	}
	st := rec.Stats()
	var all []time.Duration
	var packets int
	for i := range 5 {
		begin := time.Now()
		n, err := findOne(dir, tcp.Tuple{
			Local: tcp.AddrFrom4([4]byte{192, 0, 2, 1}), Remote: tcp.AddrFrom4([4]byte{192, 0, 2, 2}),
			LocalPort: uint16(10_000 + i*7919%conns), RemotePort: 443,
		})
		if err != nil {
			return err
		}
		all, packets = append(all, time.Since(begin)), n
	}
	took := median(all)
	r.add(row{
		what: fmt.Sprintf("the %d packets of a connection among %s in %s, from opening the directory", packets, count(int(st.Recorded)), mib(uint64(st.Bytes))),
		ours: ms(took), limit: "≤ 1 s", verdict: meets(took <= time.Second && packets > 0),
	})
	return nil
}

func findOne(dir string, t tcp.Tuple) (n int, err error) {
	rec, err := capture.OpenRecording(dir)
	if err != nil {
		return 0, err
	}
	found := rec.Find(capture.RecordQuery{Tuples: []tcp.Tuple{t}})
	defer found.Close()
	var f capture.Frame
	for {
		if err := found.Next(&f); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}
