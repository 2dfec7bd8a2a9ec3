package wire

import (
	"errors"
	"fmt"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// ErrCorrupt is wrapped by errors of frames that do not follow the format.
var ErrCorrupt = errors.New("corrupt frame")

const (
	passEnd = 1 << iota
	passAllNamespaces
	passMinis
)

// maxString bounds a string of the format.
const maxString = 1<<16 - 1

// AppendBatch appends a batch in the format of docs/wire.md. Strings longer than
// 65,535 bytes are cut.
func AppendBatch(b []byte, batch *tcp.Batch) []byte {
	p := &batch.Pass
	b = append(b, byte(batch.Source))
	b = appendStamp(b, batch.Time)
	b = append(b, byte(p.Kind))
	b = appendStamp(b, p.Begin)
	var flags byte
	if p.End {
		flags |= passEnd
	}
	if p.AllNamespaces {
		flags |= passAllNamespaces
	}
	if p.Minis {
		flags |= passMinis
	}
	b = append(b, flags)
	b = le.AppendUint32(b, uint32(p.Sockets))
	b = appendString(b, p.Incomplete)
	b = le.AppendUint32(b, uint32(len(p.Namespaces)))
	for _, ns := range p.Namespaces {
		b = le.AppendUint32(b, ns)
	}
	l := &batch.Lost
	for _, v := range [...]uint64{l.Closes, l.BytesSent, l.BytesReceived, l.Events} {
		b = le.AppendUint64(b, v)
	}
	b = append(b, boolByte(l.Unknown))
	b = le.AppendUint32(b, uint32(len(batch.Processes)))
	for _, proc := range batch.Processes {
		b = appendProcess(b, proc)
	}
	b = le.AppendUint16(b, observationSize)
	b = le.AppendUint32(b, uint32(len(batch.Observations)))
	for i := range batch.Observations {
		b = appendObservation(b, &batch.Observations[i])
	}
	return b
}

// DecodeBatch reads a batch into dst, whose slices are reused. An error wraps
// ErrCorrupt and leaves dst undefined.
func DecodeBatch(b []byte, dst *tcp.Batch) error {
	r := reader{b: b}
	dst.Source = tcp.SourceKind(r.uint8())
	dst.Time = r.stamp()
	dst.Pass = tcp.Pass{Kind: tcp.PassKind(r.uint8()), Begin: r.stamp(), Namespaces: dst.Pass.Namespaces[:0]}
	flags := r.uint8()
	dst.Pass.End, dst.Pass.AllNamespaces = flags&passEnd != 0, flags&passAllNamespaces != 0
	dst.Pass.Minis = flags&passMinis != 0
	dst.Pass.Sockets = int(r.uint32())
	dst.Pass.Incomplete = r.string()
	for range r.count(4) {
		dst.Pass.Namespaces = append(dst.Pass.Namespaces, r.uint32())
	}
	dst.Lost = tcp.Loss{Closes: r.uint64(), BytesSent: r.uint64(), BytesReceived: r.uint64(), Events: r.uint64(), Unknown: r.uint8() != 0}
	dst.Processes = dst.Processes[:0]
	for range r.count(minProcess) {
		dst.Processes = append(dst.Processes, r.process())
	}
	size := int(r.uint16())
	if r.err == nil && size < observationSize {
		return fmt.Errorf("%w: observations of %d bytes, at least %d needed", ErrCorrupt, size, observationSize)
	}
	dst.Observations = dst.Observations[:0]
	for range r.count(size) {
		raw := r.take(size)
		if raw == nil {
			break
		}
		dst.Observations = append(dst.Observations, tcp.Observation{})
		decodeObservation(raw, &dst.Observations[len(dst.Observations)-1])
	}
	if r.err == nil && len(r.b) != r.off {
		return fmt.Errorf("%w: %d bytes after the last observation", ErrCorrupt, len(r.b)-r.off)
	}
	return r.err
}

// minProcess is the size of a process whose strings are all empty.
const minProcess = 4 + 8 + 4 + 4 + 1 + 7*2

func appendProcess(b []byte, p *tcp.Process) []byte {
	b = le.AppendUint32(b, uint32(p.PID))
	b = le.AppendUint64(b, p.Start)
	b = le.AppendUint32(b, uint32(p.Parent))
	b = le.AppendUint32(b, p.UID)
	b = append(b, boolByte(p.HasUID))
	for _, s := range [...]string{p.Name, p.Exe, p.Cmdline, p.User, p.Container, p.Unit, p.Cgroup} {
		b = appendString(b, s)
	}
	return b
}

func (r *reader) process() *tcp.Process {
	p := &tcp.Process{}
	p.PID = int32(r.uint32())
	p.Start = r.uint64()
	p.Parent = int32(r.uint32())
	p.UID = r.uint32()
	p.HasUID = r.uint8()&1 != 0
	for _, s := range [...]*string{&p.Name, &p.Exe, &p.Cmdline, &p.User, &p.Container, &p.Unit, &p.Cgroup} {
		*s = r.string()
	}
	return p
}

func appendString(b []byte, s string) []byte {
	if len(s) > maxString {
		s = s[:maxString]
	}
	return append(le.AppendUint16(b, uint16(len(s))), s...)
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}
