package web

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// hubBuffer is how many events may wait for the hub, which does nothing but copy.
const hubBuffer = 1 << 16

// hub keeps the newest events for all readers of the stream, so that each costs a
// place in a ring and no queue of its own, and one who comes back goes on where he
// was.
type hub struct {
	// epoch names this run: places of another one mean nothing here.
	epoch string

	mu   sync.Mutex
	ring []tcp.Event
	// next is the place of the next event; places count from 1 without holes.
	next uint64
	// news is closed when there is more.
	news  chan struct{}
	ended bool
}

func newHub(replay int) *hub {
	return &hub{
		epoch: strconv.FormatInt(time.Now().UnixNano(), 36),
		ring:  make([]tcp.Event, replay), next: 1, news: make(chan struct{}),
	}
}

// follow takes events until the stream or ctx ends.
func (h *hub) follow(ctx context.Context, sub tcp.Subscription) {
	var (
		events []tcp.Event
		err    error
	)
	for err == nil {
		events, err = sub.Next(ctx, events[:0])
		h.add(events, err != nil)
		clear(events)
	}
}

func (h *hub) add(events []tcp.Event, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		h.ring[h.next%uint64(len(h.ring))] = e
		h.next++
	}
	h.ended = h.ended || ended
	close(h.news)
	h.news = make(chan struct{})
}

// now is the place of the next event.
func (h *hub) now() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next
}

// read appends the events from a place on, at most limit. missed is how many are
// gone that stood there; at is the place after those read. When there are none,
// wait is closed with the next ones, or nil if there will be no more.
func (h *hub) read(dst []tcp.Event, from uint64, limit int) (_ []tcp.Event, missed, at uint64, wait <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := uint64(1)
	if size := uint64(len(h.ring)); h.next > size {
		oldest = h.next - size
	}
	if from < oldest {
		missed, from = oldest-from, oldest
	}
	for ; from < h.next && limit > 0; limit-- {
		dst = append(dst, h.ring[from%uint64(len(h.ring))])
		from++
	}
	if !h.ended {
		wait = h.news
	}
	return dst, missed, from, wait
}

// id names the place before the one that comes next: what a reader has seen.
func (h *hub) id(next uint64) string { return h.epoch + "-" + strconv.FormatUint(next-1, 10) }

// place finds where a reader with an id goes on; ok is false when the id is of
// another run, or of none.
func (h *hub) place(id string) (next uint64, ok bool) {
	epoch, text, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || epoch != h.epoch || n >= h.now() {
		return 0, false
	}
	return n + 1, true
}
