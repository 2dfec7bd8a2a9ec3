package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/viewtcp/viewtcp/internal/analysis"
	"github.com/viewtcp/viewtcp/internal/capture"
	"github.com/viewtcp/viewtcp/internal/output"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// exporter writes the packets of chosen connections to a capture file.
type exporter struct {
	w           *capture.Writer
	pcap        bool
	headersOnly bool
	anonymizer  *capture.Anonymizer
	// ids maps the interfaces of a file being read to those being written.
	ids map[interfaceOf]uint32
	// told are the connections whose facts stand in a comment already.
	told map[uint32]bool

	packets, withPayload int
	payload              bool
}

type interfaceOf struct {
	reader *capture.Reader
	number uint32
}

// newExporter makes an exporter of a file, whose name says its format.
func newExporter(path string, d disguise) (_ *exporter, err error) {
	x := &exporter{
		pcap:        strings.HasSuffix(path, ".pcap") || strings.HasSuffix(path, ".cap"),
		headersOnly: d.headersOnly || d.anonymize,
		ids:         make(map[interfaceOf]uint32),
		told:        make(map[uint32]bool),
	}
	x.anonymizer, err = d.anonymizer()
	return x, err
}

// begin begins the file; from says where the packets are from.
func (x *exporter) begin(w io.Writer, from string) (err error) {
	o := capture.WriterOptions{Section: capture.Section{Application: "ViewTCP " + version}}
	if x.pcap {
		o.Format = capture.FormatPcap
	} else if !x.anonymized() {
		o.Section.Comments = []string{"from " + from}
	} else {
		o.Section.Comments = []string{"anonymised: addresses are pseudonyms that keep common prefixes, payload is left out"}
	}
	x.w, err = capture.NewWriter(w, o)
	return err
}

func (x *exporter) anonymized() bool { return x.anonymizer != nil }

// packet writes one packet of a connection.
func (x *exporter) packet(p *packetOf, v *analysis.Packet, row *tcp.Conn) error {
	comment := ""
	if !x.pcap {
		comment = x.comment(v, row)
	}
	return x.frame(p.frame, interfaceOf{p.reader, p.frame.Interface}, p.reader.Interfaces(), len(p.seg.Payload) > 0, comment)
}

// frame writes a frame of one of the known interfaces. payload says that it holds
// any.
func (x *exporter) frame(from *capture.Frame, at interfaceOf, known []capture.Interface, payload bool, comment string) error {
	f := *from
	var err error
	if f.Interface, err = x.interfaceID(&f, at, known); err != nil {
		return err
	}
	if payload {
		x.withPayload++
		x.payload = !x.headersOnly
	}
	if x.headersOnly {
		capture.HeadersOnly(&f)
	}
	if x.anonymized() {
		f.Comment = ""
		x.anonymizer.Frame(&f)
	}
	x.packets++
	return x.w.Write(&f, comment)
}

// interfaceID announces the interface of a frame when its first one comes.
func (x *exporter) interfaceID(f *capture.Frame, at interfaceOf, known []capture.Interface) (uint32, error) {
	if id, ok := x.ids[at]; ok {
		return id, nil
	}
	i := capture.Interface{Link: f.Link}
	if int(at.number) < len(known) {
		i = known[at.number]
		i.Link = f.Link
		if x.anonymized() {
			i.Name, i.Description, i.Comment, i.Filter = "", "", "", ""
		}
	}
	id, err := x.w.AddInterface(&i)
	if err == nil {
		x.ids[at] = id
	}
	return id, err
}

// comment is what stands beside a packet: the facts of its connection at its
// first packet, and what the analysis says of it.
func (x *exporter) comment(v *analysis.Packet, row *tcp.Conn) string {
	var parts []string
	if !x.told[v.Stream] {
		x.told[v.Stream] = true
		parts = append(parts, connComment(row, x.anonymized()))
	}
	if v.Verdict != analysis.VerdictNew {
		s := v.Verdict.String()
		if r := v.Reason.String(); r != "" {
			s += " (" + r + ")"
		}
		parts = append(parts, s)
	}
	if len(parts) == 0 {
		return ""
	}
	return "viewtcp: " + strings.Join(parts, "; ")
}

// connComment sums a connection up; anonymous leaves out what names anybody.
func connComment(row *tcp.Conn, anonymous bool) string {
	var b strings.Builder
	if !anonymous {
		fmt.Fprintf(&b, "connection %s", row.ID)
		if p := row.Process; p != nil {
			fmt.Fprintf(&b, ", process %s", output.Clean(p.Name))
			if p.PID != 0 {
				fmt.Fprintf(&b, " (pid %d)", p.PID)
			}
			if p.Container != "" {
				fmt.Fprintf(&b, ", container %s", output.Clean(p.Container))
			}
		}
	} else {
		fmt.Fprintf(&b, "connection %d", row.Packets.Stream)
	}
	for _, name := range []string{"retransmits", "retransmissions", "initial_rtt_us", "conn_state", "close_reason"} {
		f := tcp.FieldByName(name)
		if f == nil || !f.Known(row) {
			continue
		}
		text := string(output.AppendHuman(nil, f, row))
		fmt.Fprintf(&b, ", %s %s", strings.TrimSuffix(name, "_us"), text)
	}
	return b.String()
}

// end finishes the file.
func (x *exporter) end() error {
	if x.w == nil {
		return nil
	}
	return x.w.Flush()
}
