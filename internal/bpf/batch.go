package bpf

import (
	"errors"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// batchSize is how many observations a batch holds at most.
const batchSize = 512

// errRecord says that the kernel's programs and this one do not agree, which
// only a mistake in building can bring about.
var errRecord = errors.New("the record of a socket has an unknown form")

// batcher turns records into batches. It uses one batch for all.
type batcher struct {
	sink  tcp.Sink
	clock func() tcp.Stamp
	dec   decoder
	batch tcp.Batch
	// foreign says that a namespace other than home was met.
	home    uint32
	foreign bool
	// refused is the error of the sink, which wants nothing more.
	refused error
	// minis counts the mini-sockets that were met; shown all sockets that walks
	// showed.
	minis, shown int
}

func (b *batcher) start(sink tcp.Sink, clock func() tcp.Stamp, hz uint64, home uint32) {
	obs := b.batch.Observations[:0]
	if obs == nil {
		obs = make([]tcp.Observation, 0, batchSize)
	}
	*b = batcher{
		sink: sink, clock: clock, home: home,
		dec:   decoder{hz: hz},
		batch: tcp.Batch{Source: tcp.SourceEBPF, Observations: obs},
	}
}

// begin opens a batch of its own kind; what is waiting must have been sent.
func (b *batcher) begin(kind tcp.PassKind) {
	b.dec.now = b.clock()
	b.batch.Pass = tcp.Pass{Kind: kind}
	b.batch.Lost = tcp.Loss{}
	b.batch.Observations = b.batch.Observations[:0]
	if kind != tcp.PassEvents {
		b.batch.Pass.Begin = b.dec.now
	}
}

// parse reads the records of a walk and returns how many bytes they took; the
// rest is the beginning of a record.
func (b *batcher) parse(p []byte) (used int, err error) {
	for {
		n, ok := recordLen(p[used:])
		if !ok {
			return used, errRecord
		}
		if len(p)-used < n {
			return used, nil
		}
		if err := b.add(p[used:used+n], false); err != nil {
			return used, err
		}
		used += n
	}
}

// add reads one record into the batch, and sends the batch first if it is full.
func (b *batcher) add(p []byte, live bool) error {
	if len(b.batch.Observations) == batchSize {
		if err := b.send(); err != nil {
			return err
		}
	}
	i := len(b.batch.Observations)
	obs := b.batch.Observations[:i+1]
	o := &obs[i]
	if !b.dec.decode(p, live, o) {
		return errRecord
	}
	b.batch.Observations = obs
	if o.NetNS != b.home {
		b.foreign = true
	}
	if o.Mini {
		b.minis++
	}
	if !live {
		b.shown++
	}
	return nil
}

// addEvent reads one record of the ring.
func (b *batcher) addEvent(p []byte) error {
	if err := b.add(p, true); err != nil {
		return err
	}
	obs := b.batch.Observations
	last := &obs[len(obs)-1]
	if last.Kind != tcp.SeenReset || p[offFlags]&flagAfterClose == 0 {
		return nil
	}
	for i := len(obs) - 2; i >= 0; i-- {
		if obs[i].Cookie == last.Cookie && obs[i].Kind == tcp.SeenClosed {
			amendClose(&obs[i], last)
			obs[i], *last = *last, obs[i]
			return nil
		}
	}
	return nil
}

// addHeld reads records of the ring that lie one behind the other.
func (b *batcher) addHeld(p []byte) error {
	for len(p) > 0 {
		n, ok := recordLen(p)
		if !ok || len(p) < n {
			return errRecord
		}
		if err := b.addEvent(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// send hands the batch over and opens the next of the same kind.
func (b *batcher) send() error {
	b.batch.Time = b.clock()
	if b.refused != nil {
		return b.refused
	}
	b.refused = b.sink(&b.batch)
	b.batch.Lost = tcp.Loss{}
	b.batch.Observations = b.batch.Observations[:0]
	return b.refused
}

// endPass sends the last batch of a pass.
func (b *batcher) endPass(namespaces []uint32, all bool) error {
	b.batch.Pass.End = true
	b.batch.Pass.Namespaces = namespaces
	b.batch.Pass.AllNamespaces = all
	return b.send()
}
