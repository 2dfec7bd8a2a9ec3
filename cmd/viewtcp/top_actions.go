package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tui"
)

// topNames asks DNS from the moment on that the user wants names.
type topNames struct {
	c    *common
	once sync.Once
	r    *resolver
}

// newTopNames returns nil where names are switched off.
func newTopNames(c *topFlags) *topNames {
	if c.noNames {
		return nil
	}
	return &topNames{c: &c.common}
}

// name implements Name of tui.Config.
func (n *topNames) name(c *tcp.Conn) *tcp.Conn {
	n.once.Do(func() {
		asked := *n.c
		asked.resolve = true
		n.r = newResolver(&asked)
	})
	return n.r.name(c)
}

func (n *topNames) close() {
	if n == nil {
		return
	}
	n.once.Do(func() {}) // nobody asks any more
	n.r.close()
}

// exportRows writes connections to a file that does not exist yet, in the format
// that its name ends in.
func exportRows(path string, conns []*tcp.Conn, fields []*tcp.Field) (err error) {
	format := strings.TrimPrefix(filepath.Ext(path), ".")
	switch format {
	case formatCSV, formatJSON, formatJSONL:
	default:
		return fmt.Errorf("%q: the name shall end in .csv, .json or .jsonl", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	p := &printer{c: &common{format: format}, out: f}
	if format == formatCSV {
		p.csv = output.NewCSV(fields)
	} else {
		p.json = output.NewJSON(fields)
	}
	return p.print(conns)
}

// captureConn records the packets of one connection into a file of its own in the
// working directory, until ctx ends.
func captureConn(ctx context.Context, c *tcp.Conn, tell func(tui.Packet)) (path string, err error) {
	text := fmt.Sprintf("host %s and host %s and port %d and port %d", c.Local, c.Remote, c.LocalPort, c.RemotePort)
	flt, err := filter.Parse(text)
	if err != nil {
		return "", err
	}
	cfg := capture.DefaultLiveConfig()
	cfg.Filter, cfg.BlockTimeout, cfg.RingBytes, cfg.BlockBytes = flt, liveBlock, 8<<20, 512<<10
	ns, err := findNamespace(c.NetNS)
	switch {
	case c.NetNS == 0:
	case err != nil:
		return "", err
	case !ns.Self:
		cfg.Do = func(fn func()) error { return ns.Do(func() error { fn(); return nil }) }
	}
	live, err := capture.OpenLive(cfg)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, live.Close()) }()

	path = fmt.Sprintf("viewtcp-%s-%s.pcapng", c.ID, time.Now().Format("20060102-150405"))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	opts := capture.WriterOptions{Section: capture.Section{Application: "ViewTCP " + version, OS: runtime.GOOS}}
	for _, at := range live.Interfaces() {
		opts.Interfaces = append(opts.Interfaces, capture.Interface{Link: at.Link, Name: at.Name, SnapLen: capture.MaxLiveSnaplen, Filter: text})
	}
	out, err := capture.NewWriter(w, opts)
	if err != nil {
		return path, err
	}
	stop := context.AfterFunc(ctx, live.Stop)
	defer stop()
	err = followPackets(live, out, c, tell)
	return path, errors.Join(err, out.Flush(), w.Flush())
}

// followPackets writes the packets of a connection and tells of each.
func followPackets(live *capture.Live, out *capture.Writer, c *tcp.Conn, tell func(tui.Packet)) error {
	var (
		frame   capture.Frame
		segment capture.Segment
		verdict analysis.Packet
		whole   capture.Reassembler
		names   []string
	)
	a := analysis.New(analysis.DefaultConfig())
	for {
		err := live.Next(&frame)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if whole.Decode(&frame, &segment) != capture.TCP {
			continue
		}
		sent := segment.Tuple == c.Tuple
		if !sent && segment.Tuple != c.Reverse() {
			continue
		}
		comment := ""
		if p := c.Process; p != nil {
			comment = output.Clean(fmt.Sprintf("%s, pid %d", p.Name, p.PID))
		}
		if err := out.Write(&frame, comment); err != nil {
			return err
		}
		a.Add(&segment, &verdict)
		names = verdict.Flags.AppendNames(names[:0])
		tell(tui.Packet{
			Time: segment.Time, Sent: sent, Flags: string(appendTCPFlags(nil, segment.Flags)), Notes: strings.Join(names, " "),
			Seq: verdict.RelSeq, Ack: verdict.RelAck, Window: verdict.CalculatedWindow, Len: segment.Len,
		})
	}
}
