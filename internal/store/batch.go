package store

// BatchID names one batch, so that it is kept once however often it is sent. A
// batch that was sent must not be cut differently later.
type BatchID struct {
	// Agent is who made the batch; the empty agent sends each batch once and
	// wants no such protection.
	Agent string
	// Epoch tells the runs of an agent apart and grows with each. Sequence counts
	// the batches of an epoch from 1, without holes.
	Epoch, Sequence uint64
}

// Batch is the unit that is acknowledged: all of it or nothing is kept.
type Batch struct {
	ID BatchID
	// Time is until when the maker knew its connections to be alive, nanoseconds
	// since 1970 UTC.
	Time    int64
	Records []Record
	Samples []Sample
	Events  []Event
	Peaks   []Peak
	Usage   []Usage
}

// Rows is how many rows the batch has, of all tables.
func (b *Batch) Rows() int {
	return len(b.Records) + len(b.Samples) + len(b.Events) + len(b.Peaks) + len(b.Usage)
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	clear(b.Records) // so that connections can be freed
	b.ID, b.Time = BatchID{}, 0
	b.Records, b.Samples, b.Events, b.Peaks = b.Records[:0], b.Samples[:0], b.Events[:0], b.Peaks[:0]
	b.Usage = b.Usage[:0]
}
