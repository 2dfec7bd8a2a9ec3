package capture

import (
	"fmt"
	"strconv"

	"golang.org/x/net/bpf"
)

// A label is a place in a program that is not known yet when a jump to it is made.
type label int

// asmStep is one instruction, or a jump to labels. All jumps are forwards.
type asmStep struct {
	ins       bpf.Instruction // nil for a jump
	cond      bool
	test      bpf.JumpTest
	val       uint32
	yes, no   label // yes alone for a jump without a condition
	farY, far bool  // the target is too far for 8 bits; far is that of no
}

// assembler collects steps and gives them numbers.
type assembler struct {
	steps  []asmStep
	labels []int // the step that each label stands before; -1 is none yet
}

func (a *assembler) label() label {
	a.labels = append(a.labels, -1)
	return label(len(a.labels) - 1)
}

func (a *assembler) place(l label) { a.labels[l] = len(a.steps) }

func (a *assembler) emit(ins bpf.Instruction) { a.steps = append(a.steps, asmStep{ins: ins}) }

func (a *assembler) goTo(l label) { a.steps = append(a.steps, asmStep{yes: l}) }

func (a *assembler) jump(test bpf.JumpTest, val uint32, yes, no label) {
	a.steps = append(a.steps, asmStep{cond: true, test: test, val: val, yes: yes, no: no})
}

// length is the number of instructions that a step becomes.
func (s *asmStep) length() int {
	n := 1
	if s.farY {
		n++
	}
	if s.far {
		n++
	}
	return n
}

// resolve turns labels into distances. A conditional jump reaches 255
// instructions; one that must go further jumps to a jump that has no limit.
func (a *assembler) resolve() ([]bpf.Instruction, error) {
	at := make([]int, len(a.steps)+1)
	for changed := true; changed; {
		changed = false
		for i := range a.steps {
			at[i+1] = at[i] + a.steps[i].length()
		}
		for i := range a.steps {
			s := &a.steps[i]
			if !s.cond {
				continue
			}
			if d := at[a.labels[s.yes]] - at[i] - 1; d > 255 && !s.farY {
				s.farY, changed = true, true
			}
			if d := at[a.labels[s.no]] - at[i] - 1; d > 255 && !s.far {
				s.far, changed = true, true
			}
		}
	}
	var out []bpf.Instruction
	for i := range a.steps {
		s := &a.steps[i]
		if s.ins != nil {
			out = append(out, s.ins)
			continue
		}
		yes := at[a.labels[s.yes]]
		if yes < at[i]+s.length() {
			return nil, fmt.Errorf("jump from %d back to %d", at[i], yes)
		}
		if !s.cond {
			out = append(out, bpf.Jump{Skip: uint32(yes - at[i] - 1)})
			continue
		}
		no := at[a.labels[s.no]]
		if no < at[i]+s.length() {
			return nil, fmt.Errorf("jump from %d back to %d", at[i], no)
		}
		j := bpf.JumpIf{Cond: s.test, Val: s.val}
		var more []bpf.Instruction
		if s.farY {
			more = append(more, bpf.Jump{Skip: uint32(yes - at[i] - 2)})
		} else {
			j.SkipTrue = uint8(yes - at[i] - 1)
		}
		if s.far {
			j.SkipFalse = uint8(len(more))
			more = append(more, bpf.Jump{Skip: uint32(no - at[i] - 2 - len(more))})
		} else {
			j.SkipFalse = uint8(no - at[i] - 1)
		}
		out = append(append(out, j), more...)
	}
	return out, nil
}

// String lists the instructions as tcpdump -d does.
func (p *Program) String() string {
	var b []byte
	for i, ins := range p.ins {
		op, arg := mnemonic(ins, i)
		b = fmt.Appendf(b, "(%03d) ", i)
		if j, ok := ins.(bpf.JumpIf); ok {
			b = fmt.Appendf(b, "%-8s %-16s jt %d\tjf %d\n", op, arg, i+1+int(j.SkipTrue), i+1+int(j.SkipFalse))
			continue
		}
		if arg == "" {
			b = append(b, op...)
		} else {
			b = fmt.Appendf(b, "%-8s %s", op, arg)
		}
		b = append(b, '\n')
	}
	return string(b)
}

var sizedLoads = map[int]string{1: "ldb", 2: "ldh", 4: "ld"}

// mnemonic writes an instruction in the way of libpcap; i is its number.
func mnemonic(ins bpf.Instruction, i int) (op, arg string) {
	hex := func(v uint32) string { return "#0x" + strconv.FormatUint(uint64(v), 16) }
	switch ins := ins.(type) {
	case bpf.LoadConstant:
		if ins.Dst == bpf.RegX {
			return "ldx", hex(ins.Val)
		}
		return "ld", hex(ins.Val)
	case bpf.LoadAbsolute:
		return sizedLoads[ins.Size], fmt.Sprintf("[%d]", ins.Off)
	case bpf.LoadIndirect:
		return sizedLoads[ins.Size], fmt.Sprintf("[x + %d]", ins.Off)
	case bpf.LoadScratch:
		return "ld", fmt.Sprintf("M[%d]", ins.N)
	case bpf.StoreScratch:
		return "st", fmt.Sprintf("M[%d]", ins.N)
	case bpf.LoadExtension:
		switch ins.Num {
		case bpf.ExtLen:
			return "ld", "#pktlen"
		case bpf.ExtProto:
			return "ld", "#proto"
		case bpf.ExtType:
			return "ld", "#type"
		case bpf.ExtLinkLayerType:
			return "ld", "#hatype"
		default:
			return "ld", "#ext" + strconv.Itoa(int(ins.Num))
		}
	case bpf.ALUOpConstant:
		switch ins.Op {
		case bpf.ALUOpAnd:
			return "and", hex(ins.Val)
		case bpf.ALUOpShiftLeft:
			return "lsh", "#" + strconv.FormatUint(uint64(ins.Val), 10)
		case bpf.ALUOpAdd:
			return "add", "#" + strconv.FormatUint(uint64(ins.Val), 10)
		default:
			return "alu", hex(ins.Val)
		}
	case bpf.ALUOpX:
		if ins.Op == bpf.ALUOpSub {
			return "sub", "x"
		}
		return "add", "x"
	case bpf.TAX:
		return "tax", ""
	case bpf.TXA:
		return "txa", ""
	case bpf.Jump:
		return "ja", strconv.Itoa(i + 1 + int(ins.Skip))
	case bpf.JumpIf:
		switch ins.Cond {
		case bpf.JumpEqual:
			return "jeq", hex(ins.Val)
		case bpf.JumpGreaterThan:
			return "jgt", hex(ins.Val)
		case bpf.JumpGreaterOrEqual:
			return "jge", hex(ins.Val)
		default:
			return "jset", hex(ins.Val)
		}
	case bpf.RetConstant:
		return "ret", "#" + strconv.FormatUint(uint64(ins.Val), 10)
	default:
		return fmt.Sprint(ins), ""
	}
}
