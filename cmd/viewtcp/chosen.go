package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// errEnough ends a pass early: what was asked for has been printed.
var errEnough = errors.New("enough")

// packets lists the packets in one pass. rows are the connections by stream, as
// they are at the end of the capture, where the filter asks for more than a
// packet has.
func (o *analyzed) packets(r *reading, rows map[uint32]*tcp.Conn) error {
	list := newPacketList(o.e, o.a)
	match := o.filter.PacketPredicate()
	several := len(r.files) > 1 || o.a.format != formatTable
	var view filter.Packet
	err := o.pass(r, nil, func(p *packetOf, v *analysis.Packet) error {
		if o.a.stream >= 0 && v.Stream != uint32(o.a.stream) {
			return nil
		}
		view.Set(p.seg.Tuple, uint16(p.seg.Flags))
		if !match(&view, rows[v.Stream]) {
			return nil
		}
		row := packetRow{seg: p.seg, v: v, fromLocal: o.fromLocal(p.seg, v)}
		if several {
			row.file = p.file.name
		}
		o.shown++
		if err := list.add(&row); err != nil {
			return err
		}
		if list.full() {
			return errEnough
		}
		return nil
	})
	if errFinish := list.finish(); errFinish != nil {
		return errFinish
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	o.tellLeftOut(r)
	return err
}

// fromLocal reports whether the local end sent a segment.
func (o *analyzed) fromLocal(s *capture.Segment, v *analysis.Packet) bool {
	if o.local != nil {
		if from := o.local(s.Tuple.Local); from != o.local(s.Tuple.Remote) {
			return from
		}
	}
	return v.Initiator
}

// packetsOfChosen makes one pass to learn which connections are asked for, and
// one to print or write their packets.
func (o *analyzed) packetsOfChosen(r *reading) error {
	rows := make(map[uint32]*tcp.Conn)
	err := o.pass(r, func(c *analysis.Conn, row *tcp.Conn) {
		if o.a.packets && o.filter.NeedsConn() || o.chosen(row) {
			rows[c.Stream] = copyOf(row)
		}
	}, nil)
	if err != nil {
		return err // interrupted: which packets to print was not known yet
	}
	if o.a.write != "" {
		if err := o.export(r, rows); err != nil {
			return err
		}
	}
	if o.a.packets {
		return o.packets(r, rows)
	}
	return nil
}

// export writes the packets of connections to a file, as they were captured
// unless the flags say otherwise.
func (o *analyzed) export(r *reading, rows map[uint32]*tcp.Conn) error {
	x, err := newExporter(o.a.write, o.a.disguise)
	if err != nil {
		return err
	}
	if o.a.write == "-" && isTerminal(o.e.stdout) {
		return usagef("-w -: a capture would upset the terminal; send it into a file or a program")
	}
	write := func(w io.Writer) error {
		if err := x.begin(w, title(r)); err != nil {
			return err
		}
		err := o.pass(r, nil, func(p *packetOf, v *analysis.Packet) error {
			row := rows[v.Stream]
			if row == nil {
				return nil
			}
			return x.packet(p, v, row)
		})
		return errors.Join(err, x.end())
	}
	if o.a.write == "-" {
		err = write(o.e.stdout)
	} else {
		for i := range r.files {
			if sameFile(r.files[i].path, o.a.write) {
				return usagef("-w %s: that is the file being read", o.a.write)
			}
		}
		err = replaceFile(o.a.write, write)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", o.a.write, err)
	}
	o.shown = x.packets
	if x.payload {
		o.e.warn("the file holds payload of " + fmt.Sprint(x.withPayload) + " packets, as it was captured; --headers-only leaves it out")
	}
	fmt.Fprintf(o.e.stderr, "viewtcp: wrote %s of %s to %s\n", counted(x.packets, "packets"), counted(len(rows), "connections"), output.Clean(o.a.write))
	return nil
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
