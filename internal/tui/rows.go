package tui

import (
	"slices"
	"time"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// How long rows stand out, by the clock of the data.
const (
	newFor     = int64(3 * time.Second)
	changedFor = int64(2 * time.Second)
	closedFor  = int64(6 * time.Second)
)

// maxKept bounds the closed connections that are kept on the screen.
const maxKept = 10_000

// row is one connection as the table knows it. What loops over all rows need is
// in the row itself: its connection lies elsewhere in memory.
type row struct {
	conn *tcp.Conn
	// prev is the connection before its last change.
	prev *tcp.Conn
	key  sortKey
	// seen is the pass that showed the row last, changed the one that changed it.
	seen, changed uint64
	// order numbers rows by arrival.
	order uint64
	// born, turned and closed are when the row appeared, changed its state and
	// ended, in nanoseconds of the boot clock; 0 is never, or before the start.
	born, turned, closed int64
	// told is when an event last told of the row: snapshots from before know
	// less.
	told int64
	// life are the states that were seen, in order.
	life []lifeMark

	rx, tx   uint64
	port     uint16 // of the service
	state    tcp.State
	rank     rank
	loopback bool
	matches  bool
	// shown says that the row is in the sorted list, moved that its place there
	// may be wrong.
	shown, moved bool
}

// lifeMark is a state and when it began.
type lifeMark struct {
	state tcp.State
	at    tcp.Stamp
}

// chunkRows is how many rows are made at once. A chunk lives as long as one of its
// rows, so it is not large.
const chunkRows = 32

// maxLife bounds the states kept of a connection.
const maxLife = 16

// rank orders what is equal otherwise: connections, listeners, remnants.
type rank uint8

const (
	rankConn rank = iota
	rankListener
	rankRemnant
)

// rowSet is all rows, and those that are shown, in order.
type rowSet struct {
	rows map[tcp.ID]*row
	// bySnap is parallel to the last snapshot, which mostly keeps its order.
	bySnap []*row
	all    []*row
	shown  []*row
	kept   int // closed rows
	pass   uint64
	order  uint64
	now    int64
	begun  bool

	sorter  sorter
	filter  *filter.Filter
	inverse bool
	// ages says that the filter depends on the time.
	ages bool
	// keep holds closed rows until they are too many.
	keep   bool
	name   func(*tcp.Conn) *tcp.Conn
	totals totals
	// scratch is reused by merging, chunk is rows to come: those of a time lie
	// side by side.
	scratch []*row
	chunk   []row
}

// totals are sums over rows.
type totals struct {
	// all and match count rows, states all of them by state.
	all, match int
	states     [tcp.NumStates]int
	// rx and tx are bytes a second over the network; lo what stays on this host,
	// counted once.
	rx, tx, lo uint64
	// matchRX and matchTX are those of the rows that match.
	matchRX, matchTX uint64
}

func newRowSet() *rowSet {
	return &rowSet{rows: make(map[tcp.ID]*row), sorter: defaultSorter()}
}

// setFilter replaces the filter; nil shows all.
func (s *rowSet) setFilter(f *filter.Filter, inverse bool) {
	s.filter, s.inverse, s.ages = f, inverse, false
	if f != nil {
		for _, field := range f.Fields(nil) {
			s.ages = s.ages || field.Name == "duration_us" || field.Name == "remote_name"
		}
	}
	for _, r := range s.all {
		r.matches = s.match(r)
	}
	s.arrange()
}

func (s *rowSet) match(r *row) bool {
	if s.filter == nil {
		return true
	}
	c := r.conn
	if s.name != nil {
		c = s.name(c)
	}
	return s.filter.Match(c) != s.inverse
}

// setSorter replaces the order.
func (s *rowSet) setSorter(by sorter) {
	s.sorter = by
	for _, r := range s.all {
		r.key = by.key(r)
		r.moved = true
	}
	s.arrange()
}

// take takes a snapshot in; arrange is to follow.
func (s *rowSet) take(snap *tcp.Snapshot) {
	s.pass++
	s.now = max(s.now, snap.Time.Boot)
	s.bySnap = slices.Grow(s.bySnap, max(len(snap.Conns)-len(s.bySnap), 0))
	for i, c := range snap.Conns {
		var r *row
		if i < len(s.bySnap) && (s.bySnap[i].conn == c || s.bySnap[i].conn.ID == c.ID) {
			r = s.bySnap[i]
		} else if r = s.rows[c.ID]; r == nil {
			r = s.add(c)
			if s.begun {
				r.born = s.now
			}
		}
		if i < len(s.bySnap) {
			s.bySnap[i] = r
		} else {
			s.bySnap = append(s.bySnap, r)
		}
		r.seen = s.pass
		switch {
		case r.conn == c:
		case r.closed != 0 && (!c.Remnant || s.now-r.closed < closedFor):
			// Told to be closed already; the snapshot is older, or what is left
			// of it waits until the end was seen.
		default:
			s.update(r, c)
		}
	}
	clear(s.bySnap[len(snap.Conns):])
	s.bySnap = s.bySnap[:len(snap.Conns)]
	if !s.begun {
		s.begun = true
		s.number()
	}
	s.sweep(snap.Time.Boot)
}

// number puts the rows of the first snapshot in an order that people expect, for
// what is equal otherwise. What comes later is behind them.
func (s *rowSet) number() {
	rows := slices.Clone(s.all)
	slices.SortFunc(rows, usualOrder)
	for i, r := range rows {
		r.order, r.moved = uint64(i), true
	}
	s.order = max(s.order, uint64(len(rows)))
}

// sweep ends the rows that a snapshot of a moment no longer has, and drops those
// that were kept long enough.
func (s *rowSet) sweep(at int64) {
	alive := s.all[:0]
	for _, r := range s.all {
		if r.seen != s.pass && r.closed == 0 && r.told < at {
			if r.rank == rankRemnant {
				// Its end was told when the connection closed.
				s.drop(r)
				continue
			}
			s.end(r, s.now)
		}
		if r.closed != 0 && r.seen != s.pass && s.now-r.closed >= closedFor && (!s.keep || s.kept > maxKept) {
			s.drop(r)
			continue
		}
		alive = append(alive, r)
	}
	clear(s.all[len(alive):])
	s.all = alive
}

func (s *rowSet) end(r *row, at int64) {
	if r.closed == 0 {
		s.kept++
	}
	r.closed = max(at, 1)
}

func (s *rowSet) drop(r *row) {
	if r.closed != 0 {
		s.kept--
	}
	r.matches = false
	if s.rows[r.conn.ID] == r {
		delete(s.rows, r.conn.ID)
	}
}

func (s *rowSet) add(c *tcp.Conn) *row {
	s.order++
	if len(s.chunk) == 0 {
		s.chunk = make([]row, chunkRows)
	}
	r := &s.chunk[0]
	s.chunk = s.chunk[1:]
	r.order = s.order
	s.rows[c.ID] = r
	s.all = append(s.all, r)
	s.fill(r, c)
	r.life = append(r.life, lifeMark{c.State, c.Updated})
	r.matches = s.match(r)
	return r
}

// update gives a row a newer view of its connection.
func (s *rowSet) update(r *row, c *tcp.Conn) {
	if r.closed != 0 { // what is left of it
		r.closed = 0
		s.kept--
	}
	r.prev, r.changed = r.conn, s.pass
	if c.State != r.state {
		r.turned = s.now
		r.mark(c.State, tcp.Stamp{Wall: c.Updated.Wall, Boot: s.now})
	}
	s.fill(r, c)
	r.matches = s.match(r)
}

// mark adds a state to the life of a connection.
func (r *row) mark(state tcp.State, at tcp.Stamp) {
	if n := len(r.life); n > 0 && r.life[n-1].state == state {
		return
	}
	if len(r.life) < maxLife {
		r.life = append(r.life, lifeMark{state, at})
	}
}

// fill copies out of a connection what loops need.
func (s *rowSet) fill(r *row, c *tcp.Conn) {
	r.conn, r.state = c, c.State
	r.rx, r.tx = 0, 0
	if c.Has&tcp.HasReceiveRate != 0 && c.Closed.IsZero() {
		r.rx = c.Metrics.ReceiveRate
	}
	if c.Has&tcp.HasSendRate != 0 && c.Closed.IsZero() {
		r.tx = c.Metrics.SendRate
	}
	r.port = servicePort(c)
	r.loopback = c.Local.IsLoopback() || c.PeerID != 0
	was := r.rank
	switch {
	case c.State == tcp.Listen:
		r.rank = rankListener
	case c.Remnant:
		r.rank = rankRemnant
	default:
		r.rank = rankConn
	}
	r.moved = r.moved || r.rank != was
	if key := s.sorter.key(r); key != r.key {
		r.key, r.moved = key, true
	}
}

// happened takes an event in; it reports whether the table changed.
func (s *rowSet) happened(e *tcp.Event) bool {
	c := e.Conn
	if c == nil {
		return false
	}
	s.now = max(s.now, e.Time.Boot)
	r := s.rows[c.ID]
	if r != nil {
		r.told = e.Time.Boot
	}
	switch e.Type {
	case tcp.EventClosed:
		if r == nil {
			if s.kept >= maxKept {
				return false
			}
			r = s.add(c)
			r.born = max(s.now, 1)
			r.life = r.life[:0]
		} else if r.conn != c {
			s.update(r, c)
		}
		r.mark(tcp.Closed, c.Closed)
		s.end(r, max(e.Time.Boot, s.now-closedFor/2))
		return true
	case tcp.EventOpened, tcp.EventEstablished, tcp.EventChanged:
		if r == nil {
			r = s.add(c)
			r.born, r.told = max(s.now, 1), e.Time.Boot
			r.life = append(r.life[:0], lifeMark{c.State, e.Time})
			return true
		}
		r.mark(c.State, e.Time)
		if r.conn != c && r.closed == 0 {
			s.update(r, c)
			return true
		}
	default:
	}
	return false
}

// arrange brings the list of shown rows up to date: rows whose key changed are
// taken out, sorted and merged with the rest, which is in order already.
func (s *rowSet) arrange() {
	still, moved := s.shown[:0], s.scratch[:0]
	s.totals = totals{}
	t := &s.totals
	for _, r := range s.shown {
		if r.matches && !r.moved {
			still = append(still, r)
		} else {
			r.shown = false
		}
	}
	for _, r := range s.all {
		if s.ages {
			r.matches = s.match(r)
		}
		if r.closed == 0 {
			t.all++
			t.states[r.state]++
			switch {
			case r.loopback:
				t.lo += r.tx
			default:
				t.rx += r.rx
				t.tx += r.tx
			}
		}
		if !r.matches {
			continue
		}
		if r.closed == 0 {
			t.match++
			t.matchRX += r.rx
			t.matchTX += r.tx
		}
		if !r.shown {
			r.shown, r.moved = true, false
			moved = append(moved, r)
		}
	}
	if s.ages {
		still = slices.DeleteFunc(still, func(r *row) bool {
			if r.matches {
				return false
			}
			r.shown = false
			return true
		})
	}
	slices.SortFunc(moved, s.sorter.compare)
	s.shown = mergeRows(still, moved, s.sorter.compare)
	clear(moved)
	s.scratch = moved[:0]
}

// mergeRows merges sorted lists, b into the memory of a.
func mergeRows(a, b []*row, compare func(x, y *row) int) []*row {
	if len(b) == 0 {
		return a
	}
	i, j := len(a)-1, len(b)-1
	a = append(a, b...)
	for k := len(a) - 1; j >= 0; k-- {
		if i >= 0 && compare(a[i], b[j]) > 0 {
			a[k] = a[i]
			i--
		} else {
			a[k] = b[j]
			j--
		}
	}
	return a
}

// freeze returns a copy that stays as it is.
func (s *rowSet) freeze() *rowSet {
	f := *s
	f.rows, f.bySnap, f.scratch = make(map[tcp.ID]*row, len(s.rows)), nil, nil
	f.all = make([]*row, len(s.all))
	f.shown = make([]*row, 0, len(s.shown))
	for i, r := range s.all {
		c := *r
		c.shown = false
		f.all[i] = &c
		f.rows[c.conn.ID] = &c
	}
	f.arrange()
	return &f
}

// index finds a row in the list; -1 if it is not there.
func (s *rowSet) index(r *row) int {
	if r == nil || !r.shown {
		return -1
	}
	return slices.Index(s.shown, r)
}
