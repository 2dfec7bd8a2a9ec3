package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// A bigCapture is what a file for P6 holds: traffic between two kernels,
// captured once, and copied with other addresses.
type bigCapture struct {
	// Short is how many connections make Rounds requests each; a few more carry
	// Bulk bytes each.
	Short, Rounds, Bulk int
	// Copies is how many times the captured connections are in the file.
	Copies int
	// Snap cuts the frames; 0 does not.
	Snap int
}

const (
	bulkFlows  = 4
	shortReply = 6_000
	// parallel is how many of the short connections exist at a time.
	parallel = 24
	// together is how many copies pass at the same time, frame by frame; the
	// others before or after.
	together = 6
)

func (b bigCapture) conns() int { return (b.Short + bulkFlows) * b.Copies }

func (b bigCapture) name() string {
	return fmt.Sprintf("analyze-v1-%dx%d-rounds%d-bulk%d-snap%d.pcap", b.Short, b.Copies, b.Rounds, b.Bulk, b.Snap)
}

// built is what the role "build capture" answers.
type built struct {
	Packets, Bytes int64
}

// ensureCapture returns the path of the file in dir, which is made if it is not
// there. It is made in another process: the peak memory of a program counts from
// that of the one that starts it.
func ensureCapture(ctx context.Context, dir string, b bigCapture) (path string, err error) {
	path = filepath.Join(dir, b.name())
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("place for captures: %w", err)
	}
	c, err := tcptest.Launch("build capture", struct {
		bigCapture
		Path string
	}{b, path})
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Kill() })
	defer stop()
	var done built
	err = c.Recv(&done)
	return path, errors.Join(err, c.Close())
}

// removeCaptures deletes what ensureCapture made, of this and of older versions.
func removeCaptures(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "analyze-v*.pcap*"))
	for _, path := range paths {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func buildCaptureRole(c *tcptest.Control) error {
	var cfg struct {
		bigCapture
		Path string
	}
	if err := c.Recv(&cfg); err != nil {
		return err
	}
	// A file that is not whole must not be taken for one.
	f, err := os.Create(cfg.Path + ".part")
	if err != nil {
		return err
	}
	done, err := cfg.build(f)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), cfg.Path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return c.Send(done)
}

func (b bigCapture) build(w io.Writer) (done built, err error) {
	dir, err := os.MkdirTemp("", "viewtcp-bench-")
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	frames, err := b.traffic(dir)
	if err != nil {
		return done, err
	}
	ends := numberEnds(frames)
	if len(ends) != b.Short+bulkFlows {
		return done, fmt.Errorf("%d connections captured, %d made", len(ends), b.Short+bulkFlows)
	}
	out := bufio.NewWriterSize(w, 1<<20)
	// draft-ietf-opsawg-pcap, section 4: microseconds, Ethernet. All peers read it.
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	head = binary.LittleEndian.AppendUint32(head, 4<<16|2)
	head = append(head, make([]byte, 8)...)
	head = binary.LittleEndian.AppendUint32(head, 1<<18)
	head = binary.LittleEndian.AppendUint32(head, 1)
	_, _ = out.Write(head) // the error stays with the writer
	start := time.Unix(1_700_000_000, 0).UnixNano()
	length := frames[len(frames)-1].Time - frames[0].Time + int64(time.Second)
	var record []byte
	for first := 0; first < b.Copies; first += together {
		shift := start + int64(first/together)*length - frames[0].Time
		for i := range frames {
			for c := first; c < min(first+together, b.Copies); c++ {
				record = b.record(record[:0], &frames[i], shift, c, ends)
				if _, err := out.Write(record); err != nil {
					return done, err
				}
				done.Packets++
				done.Bytes += int64(len(record))
			}
		}
	}
	return done, out.Flush()
}

// traffic makes the connections over a link that loses little.
func (b bigCapture) traffic(dir string) (_ []tcptest.LinkFrame, err error) {
	path := tcptest.Impairment{Delay: 100 * time.Microsecond, Loss: 0.0005}
	l, err := tcptest.MakeLink(context.Background(), dir, tcptest.LinkConfig{
		Seed: 1, There: path, Back: path, Snap: 1 << 16, MaxPackets: 4 << 20,
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	bulk := make([]tcptest.Flow, bulkFlows)
	for i := range bulk {
		bulk[i] = tcptest.Flow{Send: b.Bulk}
	}
	if _, err := l.Run(bulk...); err != nil {
		return nil, err
	}
	short := make([]tcptest.Flow, b.Short)
	for i := range short {
		short[i] = tcptest.Flow{
			Send: 300, Reply: shortReply/2 + i%shortReply, Rounds: b.Rounds,
			Texts: [2]string{
				fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: www%d.example.org\r\nX-Fill: ", i, i%500),
				"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nX-Fill: ",
			},
		}
	}
	for len(short) > 0 {
		n := min(parallel, len(short))
		if _, err := l.Run(short[:n]...); err != nil {
			return nil, err
		}
		short = short[n:]
	}
	record, err := l.Record()
	if err != nil {
		return nil, err
	}
	return record.Ends[0], nil
}

// ways has the number of a connection by its client's and server's port.
type ways map[[2]uint16]int

// ports reads the ports of a frame, the client's first.
func ports(f *tcptest.LinkFrame) (p [2]uint16) {
	head := int(f.Data[0]&15) * 4
	p = [2]uint16{binary.BigEndian.Uint16(f.Data[head:]), binary.BigEndian.Uint16(f.Data[head+2:])}
	if !f.Out {
		p[0], p[1] = p[1], p[0]
	}
	return p
}

func numberEnds(frames []tcptest.LinkFrame) ways {
	w := make(ways)
	for i := range frames {
		p := ports(&frames[i])
		if _, known := w[p]; !known {
			w[p] = len(w)
		}
	}
	return w
}

// record appends a frame as copy c has it: each connection has a client of its
// own, and each copy a server.
func (b bigCapture) record(dst []byte, f *tcptest.LinkFrame, shift int64, c int, ends ways) []byte {
	const ethernet = 14
	p := ports(f)
	n := ends[p]
	port := uint16(80)
	if n < bulkFlows {
		port = 5201
	}
	client := netip.AddrFrom4([4]byte{10, byte(c), byte(n >> 8), byte(n)})
	server := netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + c)})
	at := f.Time + shift
	dst = binary.LittleEndian.AppendUint32(dst, uint32(at/1e9))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(at%1e9/1e3))
	captured := ethernet + len(f.Data)
	if b.Snap > 0 {
		captured = min(captured, b.Snap)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(captured))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(ethernet+f.WireLen))
	dst = append(dst, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0)
	ip := len(dst)
	dst = append(dst, f.Data...)
	readdress(dst[ip:], f.Out, netip.AddrPortFrom(client, p[0]), netip.AddrPortFrom(server, port))
	return dst[:ip-ethernet+captured]
}

// readdress gives an IPv4 packet other ends and mends its checksums (RFC 1624,
// equation 3).
func readdress(packet []byte, fromClient bool, client, server netip.AddrPort) {
	from, to := client, server
	if !fromClient {
		from, to = server, client
	}
	head := int(packet[0]&15) * 4
	segment := packet[head:]
	addrs, a := packet[12:20], append(from.Addr().AsSlice(), to.Addr().AsSlice()...)
	portsAt := segment[:4]
	q := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), to.Port())
	ofAddrs := difference(addrs, a)
	mend(packet[10:], ofAddrs)
	mend(segment[16:], ofAddrs+difference(portsAt, q))
	copy(addrs, a)
	copy(portsAt, q)
}

// difference is what replacing some 16-bit words by others adds to a sum.
func difference(from, to []byte) (sum uint32) {
	for i := 0; i < len(from); i += 2 {
		sum += uint32(^binary.BigEndian.Uint16(from[i:])) + uint32(binary.BigEndian.Uint16(to[i:]))
	}
	return sum
}

func mend(checksum []byte, difference uint32) {
	sum := uint32(^binary.BigEndian.Uint16(checksum)) + difference
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(checksum, ^uint16(sum))
}
