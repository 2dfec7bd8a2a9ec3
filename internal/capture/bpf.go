package capture

import (
	"fmt"

	"golang.org/x/net/bpf"

	"github.com/viewtcp/viewtcp/internal/filter"
)

// A Program is a filter compiled to classic BPF, for packet sockets. It passes
// every frame whose segment meets the filter, and perhaps others: whoever reads
// the frames checks each segment again (filter.Filter.PacketPredicate).
type Program struct {
	link LinkType
	ins  []bpf.Instruction
	raw  []bpf.RawInstruction
}

// Limits of a program. The kernel takes 4,096 instructions (BPF_MAXINSNS); the
// rest is for jumps that reach too far.
const (
	maxProgram  = 4096
	maxTree     = 3000
	maxTreeWork = 50_000
)

// CompileProgram compiles what the kernel can decide of a filter for frames of a
// link type: addresses, ports, TCP flags and the IP version, in any combination.
// A test of anything else passes. What is not TCP is kept out, unless it may
// carry TCP: tunnels, ICMP errors, extension headers and whatever else is not
// plain. A nil filter passes every frame. Frames are cut to snaplen bytes.
//
// For LinkLinuxSLL2 the program is for a socket of type SOCK_DGRAM, whose frames
// begin with their network header. Other link types than that, LinkEthernet and
// LinkRaw pass whole.
func CompileProgram(f *filter.Filter, link LinkType, snaplen uint32) (*Program, error) {
	var root filter.Node = filter.All{}
	if f != nil {
		root = f.Node()
	}
	for {
		p := &Program{link: link}
		c := compiler{snaplen: snaplen}
		c.program(f == nil, root, link)
		var err error
		if p.ins, err = c.asm.resolve(); err != nil {
			return nil, fmt.Errorf("compiling a filter to BPF: %w", err)
		}
		if len(p.ins) > maxProgram && root != (filter.All{}) {
			// All of TCP then, and the rest is left to the caller.
			root = filter.All{}
			continue
		}
		if p.raw, err = bpf.Assemble(p.ins); err != nil {
			return nil, fmt.Errorf("assembling a BPF program: %w", err)
		}
		return p, nil
	}
}

// Raw returns the instructions as the kernel takes them. Callers must not change
// them.
func (p *Program) Raw() []bpf.RawInstruction { return p.raw }

// notIP are the frequent protocols that carry no IP: ARP, RARP, pause, slow
// protocols, EAPOL, LLDP and PTP.
var notIP = []uint32{0x0806, 0x8035, 0x8808, 0x8809, 0x888e, 0x88cc, 0x88f7}

// notTCP are IP protocols of which Decode makes no TCP: IGMP, EIGRP, OSPF, PIM,
// VRRP, SCTP, and ESP, which is encrypted.
var notTCP = []uint32{2, 88, 89, 103, 112, 132, protoESP}

// tunnelPorts are the ports of UDP behind which Decode looks for TCP.
var tunnelPorts = []uint32{4789, 8472, 4790, 6081, 3544, 2152, 3386, 1701, 4341, 6635, 37008}

// vlanTypes announce a tag.
var vlanTypes = []uint32{etypeVLAN, etypeQinQ, etypeQinQOld, etypeQinQOlder}

// compiler makes one program.
type compiler struct {
	asm     assembler
	snaplen uint32
	accept  label
	reject  label
}

// program emits everything. all says that there is no filter.
func (c *compiler) program(all bool, root filter.Node, link LinkType) {
	a := &c.asm
	c.accept, c.reject = a.label(), a.label()
	if link == LinkLinuxSLL2 {
		// What a loopback interface sends comes again, received.
		more, inside := a.label(), a.label()
		a.emit(bpf.LoadExtension{Num: bpf.ExtType})
		a.jump(bpf.JumpEqual, pktTypeOutgoing, inside, more)
		a.place(inside)
		a.emit(bpf.LoadExtension{Num: bpf.ExtLinkLayerType})
		a.jump(bpf.JumpEqual, hardwareLoopback, c.reject, more)
		a.place(more)
	}
	switch {
	case all:
	case link == LinkEthernet, link == LinkLinuxSLL2:
		c.ethernet(root, link)
	case link == LinkRaw:
		c.raw(root)
	}
	a.place(c.accept)
	a.emit(bpf.RetConstant{Val: c.snaplen})
	a.place(c.reject)
	a.emit(bpf.RetConstant{})
}

// ethernet finds the network header by the type of the frame, and sets X to it.
// The tag that an interface takes off is not in the frame, but one that it did not
// know of is.
func (c *compiler) ethernet(root filter.Node, link LinkType) {
	a := &c.asm
	found, v4, v6 := a.label(), a.label(), a.label()
	if link == LinkLinuxSLL2 {
		a.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
		a.emit(bpf.LoadExtension{Num: bpf.ExtProto})
		c.oneOf(vlanTypes, c.accept)
	} else {
		for tags := range 3 {
			a.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: uint32(14 + vlanTag*tags)})
			a.emit(bpf.LoadAbsolute{Off: uint32(12 + vlanTag*tags), Size: 2})
			tagged := c.accept // three tags are left to the caller
			if tags < 2 {
				tagged = a.label()
			}
			c.oneOf(vlanTypes, tagged)
			if tags < 2 {
				a.goTo(found)
				a.place(tagged)
			}
		}
	}
	a.place(found)
	other := a.label()
	c.oneOf([]uint32{etypeIPv4}, v4)
	a.jump(bpf.JumpEqual, etypeIPv6, v6, other)
	a.place(other)
	c.oneOf(notIP, c.reject)
	a.goTo(c.accept)
	c.ip(root, v4, v6)
}

// raw tells the IP version by its number.
func (c *compiler) raw(root filter.Node) {
	a := &c.asm
	v4, v6 := a.label(), a.label()
	a.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: 0})
	a.emit(bpf.LoadAbsolute{Off: 0, Size: 1})
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf0})
	c.oneOf([]uint32{0x40}, v4)
	a.jump(bpf.JumpEqual, 0x60, v6, c.accept)
	c.ip(root, v4, v6)
}

// oneOf jumps if A is one of the values, else goes on.
func (c *compiler) oneOf(values []uint32, to label) {
	for _, v := range values {
		next := c.asm.label()
		c.asm.jump(bpf.JumpEqual, v, to, next)
		c.asm.place(next)
	}
}

// ip emits both IP versions. X is the offset of the header.
func (c *compiler) ip(root filter.Node, v4, v6 label) {
	a := &c.asm
	t := newTree(root, 4)
	segment := a.label()
	a.place(v4)
	a.emit(bpf.LoadIndirect{Off: 9, Size: 1})
	c.protocol(segment, protoICMP, 4)
	a.place(segment)
	whole := a.label()
	a.emit(bpf.LoadIndirect{Off: 6, Size: 2})
	a.jump(bpf.JumpBitsSet, 0x1fff, c.reject, whole) // a later fragment has no TCP header
	a.place(whole)
	if t.uses(slotSrc) {
		c.keep(12, 4, slotSrc)
	}
	if t.uses(slotDst) {
		c.keep(16, 4, slotDst)
	}
	c.segment(t, c.afterIPv4)

	t = newTree(root, 6)
	segment = a.label()
	a.place(v6)
	a.emit(bpf.LoadIndirect{Off: 6, Size: 1})
	c.protocol(segment, protoICMPv6, 6)
	a.place(segment)
	for word := range uint32(4) {
		if t.uses(slotSrc + int(word)) {
			c.keep(8+4*word, 4, slotSrc+int(word))
		}
		if t.uses(slotDst + int(word)) {
			c.keep(24+4*word, 4, slotDst+int(word))
		}
	}
	c.segment(t, c.afterIPv6)
}

// protocol looks at the number of the transport protocol in A: TCP goes on at the
// label, and others are passed or not by whether TCP may be inside.
func (c *compiler) protocol(segment label, icmp uint32, version int) {
	a := &c.asm
	c.oneOf([]uint32{protoTCP}, segment)
	isICMP, isUDP, other := a.label(), a.label(), a.label()
	c.oneOf([]uint32{icmp}, isICMP)
	a.jump(bpf.JumpEqual, protoUDP, isUDP, other)
	a.place(other)
	c.oneOf(notTCP, c.reject)
	a.goTo(c.accept)

	after := c.afterIPv4
	if version == 6 {
		after = c.afterIPv6
	}
	a.place(isICMP)
	after()
	a.emit(bpf.LoadIndirect{Off: 0, Size: 1})
	if version == 4 {
		// Errors quote what they are about: unreachable, source quench,
		// redirect, time exceeded, parameter problem.
		c.oneOf([]uint32{3, 4, 5, 11, 12}, c.accept)
		a.goTo(c.reject)
	} else {
		a.jump(bpf.JumpGreaterOrEqual, 128, c.reject, c.accept) // RFC 4443, section 2.1
	}

	a.place(isUDP)
	after()
	for _, off := range []uint32{2, 0} {
		a.emit(bpf.LoadIndirect{Off: off, Size: 2})
		c.oneOf(tunnelPorts, c.accept)
	}
	a.goTo(c.reject)
}

// afterIPv4 moves X to what follows the header, options included.
func (c *compiler) afterIPv4() {
	a := &c.asm
	a.emit(bpf.LoadIndirect{Off: 0, Size: 1})
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf})
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2})
	a.emit(bpf.ALUOpX{Op: bpf.ALUOpAdd})
	a.emit(bpf.TAX{})
}

func (c *compiler) afterIPv6() {
	a := &c.asm
	a.emit(bpf.TXA{})
	a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 40})
	a.emit(bpf.TAX{})
}

// keep loads a number and puts it into scratch memory.
func (c *compiler) keep(off uint32, size, slot int) {
	c.asm.emit(bpf.LoadIndirect{Off: off, Size: size})
	c.asm.emit(bpf.StoreScratch{Src: bpf.RegA, N: slot})
}

// segment decides by what was kept and the TCP header, which X is moved to.
func (c *compiler) segment(t *tree, toTCP func()) {
	a := &c.asm
	if t.uses(slotSPort) || t.uses(slotDPort) || t.uses(slotFlags) {
		toTCP()
	}
	if t.uses(slotSPort) {
		c.keep(0, 2, slotSPort)
	}
	if t.uses(slotDPort) {
		c.keep(2, 2, slotDPort)
	}
	if t.uses(slotFlags) {
		// A load beyond the end would reject; what a shorter header means is
		// for the caller to say.
		enough := a.label()
		a.emit(bpf.LoadExtension{Num: bpf.ExtLen})
		a.emit(bpf.ALUOpX{Op: bpf.ALUOpSub})
		a.jump(bpf.JumpGreaterOrEqual, 14, enough, c.accept)
		a.place(enough)
		a.emit(bpf.LoadIndirect{Off: 12, Size: 2})
		a.emit(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x1ff})
		a.emit(bpf.StoreScratch{Src: bpf.RegA, N: slotFlags})
	}
	t.root.emit(c, c.accept, c.reject)
}
