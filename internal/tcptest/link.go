package tcptest

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// An Impairment is what a Link does to the packets of one direction.
type Impairment struct {
	// Delay is for each packet; up to Jitter more is drawn for each.
	Delay, Jitter time.Duration
	// Ordered keeps jitter from letting packets overtake each other.
	Ordered bool
	// Loss is the share of packets that are lost, in bursts of the mean length
	// Burst; up to 1 each is lost by itself.
	Loss, Burst float64
	// Duplicate is the share that arrives twice.
	Duplicate float64
	// Reorder is the share that is held for ReorderBy more, so that later ones
	// overtake it.
	Reorder   float64
	ReorderBy time.Duration
	// Rate is that of the bottleneck, bits a second; 0 is without one. Queue is
	// how many bytes wait before it; what comes then is lost.
	Rate, Queue int
	// Lose, if not nil, is asked for each packet with the number of those before
	// it in this direction.
	Lose func(n int, packet []byte) bool
}

// Fate is what became of a packet, a bit set.
type Fate uint8

const (
	// FateLost says that it never arrived, by chance or because Lose said so.
	FateLost Fate = 1 << iota
	// FateOverflow says that it never arrived, for want of room before the bottleneck.
	FateOverflow
	// FateDuplicated says that it was to arrive twice.
	FateDuplicated
	// FateHeld says that it was picked to be reordered.
	FateHeld
	// FateOvertaken says that a packet sent after it arrived before it.
	FateOvertaken
)

// A Passage is one packet on its way over a Link.
type Passage struct {
	// From is the end that sent it.
	From int
	Fate Fate
	// Sent and Arrived are nanoseconds since 1970; Again is when the second
	// copy arrived. 0 is never.
	Sent, Arrived, Again int64
}

// An impairer decides about the packets of one direction, by a seed.
type impairer struct {
	Impairment
	rnd     *rand.Rand
	n       int
	burst   bool  // inside a burst of losses
	idle    int64 // when the bottleneck is done with what it has
	lastDue int64
}

func newImpairer(im Impairment, seed, direction uint64) *impairer {
	return &impairer{Impairment: im, rnd: rand.New(rand.NewPCG(seed, direction))}
}

// decide says what becomes of a packet that was sent at a time, in nanoseconds,
// and when it and its copy are due at the other end.
func (m *impairer) decide(now int64, packet []byte) (fate Fate, due, again int64) {
	n := m.n
	m.n++
	// As many draws for each packet, so that one's fate shifts no other's.
	lost, jitter, twice, held := m.loses(m.rnd.Float64()), m.rnd.Float64(), m.rnd.Float64(), m.rnd.Float64()
	if lost || m.Lose != nil && m.Lose(n, packet) {
		return FateLost, 0, 0
	}
	due = now
	if m.Rate > 0 {
		m.idle = max(m.idle, now)
		if waiting := (m.idle - now) * int64(m.Rate) / 8e9; m.Queue > 0 && waiting+int64(len(packet)) > int64(m.Queue) {
			return FateOverflow, 0, 0
		}
		m.idle += int64(len(packet)) * 8e9 / int64(m.Rate)
		due = m.idle
	}
	due += int64(m.Delay) + int64(jitter*float64(m.Jitter))
	if held < m.Reorder {
		fate |= FateHeld
		due += int64(m.ReorderBy)
	} else if m.Ordered {
		due = max(due, m.lastDue)
		m.lastDue = due
	}
	if twice < m.Duplicate {
		fate |= FateDuplicated
		again = due
	}
	return fate, due, again
}

// loses is Gilbert's model: once in a burst, each packet is lost.
func (m *impairer) loses(draw float64) bool {
	if m.Burst <= 1 {
		return draw < m.Loss
	}
	leave := 1 / m.Burst
	if m.burst {
		m.burst = draw >= leave
	} else {
		m.burst = draw < leave*m.Loss/(1-m.Loss)
	}
	return m.burst
}

// An arrival is a packet that is on its way.
type arrival struct {
	due    int64
	order  uint64 // of those due at the same time the first sent comes first
	id     int
	copied bool
	packet []byte
}

// arrivals is a heap by due.
type arrivals []arrival

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	if a[i].due != a[j].due {
		return a[i].due < a[j].due
	}
	return a[i].order < a[j].order
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	*a = (*a)[:last]
	return x
}

// underway is what a Link has taken and not delivered.
type underway struct {
	heap  arrivals
	order uint64
}

func (u *underway) add(due int64, id int, copied bool, packet []byte) {
	u.order++
	heap.Push(&u.heap, arrival{due, u.order, id, copied, packet})
}

// next returns what is due first.
func (u *underway) next() (due int64, ok bool) {
	if len(u.heap) == 0 {
		return 0, false
	}
	return u.heap[0].due, true
}

func (u *underway) take() arrival { return heap.Pop(&u.heap).(arrival) }
