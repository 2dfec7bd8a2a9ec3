package tui

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/tcptest/demo"
)

// apply takes a snapshot in and arranges the rows.
func (s *rowSet) apply(snap *tcp.Snapshot) {
	s.take(snap)
	s.arrange()
}

func at(secs int64) tcp.Stamp { return tcp.Stamp{Wall: 1e18 + secs*1e9, Boot: 1e12 + secs*1e9} }

func conn(id tcp.ID, state tcp.State, rx uint64) *tcp.Conn {
	c := &tcp.Conn{ID: id, State: state, Has: tcp.HasReceiveRate | tcp.HasSendRate, Opened: at(int64(id)), Updated: at(int64(id))}
	c.Metrics.ReceiveRate = rx
	c.RemotePort = uint16(id)
	return c
}

func ids(s *rowSet) (list []tcp.ID) {
	for _, r := range s.shown {
		list = append(list, r.conn.ID)
	}
	return list
}

// TestRowsKeepTheirPlace: sorting is stable, and rows that did not change do not
// move.
func TestRowsKeepTheirPlace(t *testing.T) {
	s := newRowSet()
	s.setSorter(sorter{col: columnByName("receive_rate")})
	snap := func(sec int64, cs ...*tcp.Conn) {
		s.apply(&tcp.Snapshot{Seq: uint64(sec), Time: at(sec), Conns: cs})
	}
	a, b, c := conn(1, tcp.Established, 5), conn(2, tcp.Established, 5), conn(3, tcp.Established, 9)
	snap(100, a, b, c)
	wantIDs(t, s, 3, 1, 2)
	snap(101, c, b, a) // the order of the snapshot does not matter
	wantIDs(t, s, 3, 1, 2)
	b2 := conn(2, tcp.Established, 7)
	snap(102, a, b2, c)
	wantIDs(t, s, 3, 2, 1)
	d := conn(4, tcp.Established, 0)
	d.Has = 0 // unknown is last
	snap(103, d, a, b2, c)
	wantIDs(t, s, 3, 2, 1, 4)
	s.setSorter(sorter{col: columnByName("receive_rate"), reverse: true})
	wantIDs(t, s, 1, 2, 3, 4)
}

func wantIDs(t *testing.T, s *rowSet, want ...tcp.ID) {
	t.Helper()
	if got := ids(s); !slices.Equal(got, want) {
		t.Errorf("rows %v, want %v", got, want)
	}
}

// TestLifeOfRows: rows are new, change, close, are kept and go.
func TestLifeOfRows(t *testing.T) {
	s := newRowSet()
	a := conn(1, tcp.Established, 0)
	s.apply(&tcp.Snapshot{Seq: 1, Time: at(100), Conns: []*tcp.Conn{a}})
	marks := func(want string) {
		t.Helper()
		var got strings.Builder
		for _, r := range s.shown {
			m, _ := s.mark(r)
			fmt.Fprintf(&got, "%d%s ", r.conn.ID, m)
		}
		if got.String() != want {
			t.Errorf("%q, want %q", got.String(), want)
		}
	}
	marks("1  ")
	b := conn(2, tcp.SynSent, 0)
	s.happened(&tcp.Event{Type: tcp.EventOpened, Time: at(101), Conn: b})
	s.arrange()
	marks("2+ 1  ")
	// A snapshot from before the event does not end it.
	s.apply(&tcp.Snapshot{Seq: 2, Time: at(100), Conns: []*tcp.Conn{a}})
	marks("2+ 1  ")
	a2 := conn(1, tcp.CloseWait, 0)
	s.apply(&tcp.Snapshot{Seq: 3, Time: at(105), Conns: []*tcp.Conn{a2, b}})
	marks("2  1* ")
	// Closed by an event; a snapshot from before it does not bring it back.
	b2 := conn(2, tcp.Closed, 0)
	b2.Closed = at(106)
	s.happened(&tcp.Event{Type: tcp.EventClosed, Time: at(106), Conn: b2})
	s.apply(&tcp.Snapshot{Seq: 4, Time: at(106), Conns: []*tcp.Conn{a2, b}})
	marks("2× 1* ")
	// Gone without a word.
	s.apply(&tcp.Snapshot{Seq: 5, Time: at(107)})
	marks("2× 1× ")
	s.apply(&tcp.Snapshot{Seq: 6, Time: at(112)})
	marks("1× ")
	s.apply(&tcp.Snapshot{Seq: 7, Time: at(113)})
	marks("")
	if len(s.rows) != 0 || len(s.all) != 0 || s.kept != 0 {
		t.Errorf("%d rows, %d in all and %d kept are left", len(s.rows), len(s.all), s.kept)
	}
	// Short ones are there although no snapshot had them; what is left of them
	// comes after the end was seen.
	c := conn(9, tcp.Closed, 0)
	c.Closed = at(114)
	s.happened(&tcp.Event{Type: tcp.EventClosed, Time: at(114), Conn: c})
	s.arrange()
	marks("9× ")
	rest := conn(9, tcp.TimeWait, 0)
	rest.Closed, rest.Remnant = at(114), true
	s.apply(&tcp.Snapshot{Seq: 8, Time: at(115), Conns: []*tcp.Conn{rest}})
	marks("9× ")
	s.apply(&tcp.Snapshot{Seq: 9, Time: at(121), Conns: []*tcp.Conn{rest}})
	marks("9* ")
	s.keep = true
	s.apply(&tcp.Snapshot{Seq: 10, Time: at(130)})
	marks("") // the end of a remnant is no news
}

// TestMergeEqualsSort: the order after any history is that of sorting anew.
func TestMergeEqualsSort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"receive_rate", "remote", "state", "duration_us", "remote_ip", "process"} {
		s := newRowSet()
		s.setSorter(sorter{col: columnByName(name), reverse: r.IntN(2) == 0})
		f, err := filter.Parse("rx < 7")
		if err != nil {
			t.Fatal(err)
		}
		conns := make(map[tcp.ID]*tcp.Conn)
		for pass := range 60 {
			for range r.IntN(12) {
				id := tcp.ID(1 + r.IntN(50))
				switch {
				case conns[id] != nil && r.IntN(4) == 0:
					delete(conns, id)
				default:
					c := conn(id, tcp.State(1+r.IntN(11)), r.Uint64N(9))
					c.Process = &tcp.Process{Name: fmt.Sprint("p", r.IntN(3))}
					conns[id] = c
				}
			}
			if pass == 30 {
				s.setFilter(f, false)
			}
			list := make([]*tcp.Conn, 0, len(conns))
			for _, c := range conns {
				list = append(list, c)
			}
			s.apply(&tcp.Snapshot{Seq: uint64(pass + 1), Time: at(int64(200 + pass)), Conns: list})
			want := slices.SortedStableFunc(slices.Values(s.shown), s.sorter.compare)
			if !slices.Equal(want, s.shown) {
				t.Fatalf("%s, pass %d: not in order", name, pass)
			}
			for _, x := range s.shown {
				if !s.match(x) {
					t.Fatalf("%s, pass %d: a row that does not match", name, pass)
				}
			}
			n := 0
			for _, x := range s.all {
				if s.match(x) {
					n++
				}
			}
			if n != len(s.shown) {
				t.Fatalf("%s, pass %d: %d rows shown, %d match", name, pass, len(s.shown), n)
			}
		}
	}
}

func TestTimeline(t *testing.T) {
	out := conn(1, tcp.Established, 0)
	out.Opened, out.OpenedExact, out.Direction = at(100), true, tcp.Outbound
	out.Has |= tcp.HasHandshake
	out.Handshake = 12_000
	closed := *out
	closed.State, closed.Closed = tcp.Closed, at(290)
	old := conn(2, tcp.CloseWait, 0)
	old.Opened = tcp.Stamp{}
	for _, tt := range []struct {
		name string
		row  *row
		want string
	}{
		{"outbound", &row{conn: out, life: []lifeMark{{tcp.SynSent, at(100)}, {tcp.Established, at(101)}}}, "SYN_SENT 12.0ms → ESTABLISHED 3m19s"},
		{"closed", &row{conn: &closed, life: []lifeMark{{tcp.Established, at(100)}, {tcp.FinWait1, at(280)}, {tcp.Closed, at(290)}}}, "SYN_SENT 12.0ms → ESTABLISHED 2m59s → FIN_WAIT1 10.0s → CLOSED 10.0s"},
		{"old", &row{conn: old, life: []lifeMark{{tcp.Established, tcp.Stamp{}}, {tcp.CloseWait, at(240)}}}, "ESTABLISHED ? → CLOSE_WAIT 1m00s"},
	} {
		var got strings.Builder
		for i, s := range timeline(tt.row, at(300).Boot) {
			if i > 0 {
				got.WriteString(" → ")
			}
			d := durationText(s.lasted)
			if !s.known && !s.open {
				d = "?"
			}
			got.WriteString(s.state.String() + " " + d)
		}
		if got.String() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got.String(), tt.want)
		}
	}
}

// BenchmarkSecond is what one second costs at 10,000 rows of which 30 % change:
// the snapshot taken in, and the screen drawn.
func BenchmarkSecond(b *testing.B) {
	feed := demo.Many(10_000, 30)
	m, err := newModel(b.Context(), testConfigOf(feed))
	if err != nil {
		b.Fatal(err)
	}
	m.width, m.height = 200, 50
	m.setFilter("state established or rtt > 1s")
	m.sortBy(columnByName("receive_rate"), false)
	snaps := make([]*tcp.Snapshot, 16)
	for i := range snaps {
		feed.Step(1)
		snaps[i] = feed.Snapshot()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.feed(&feedMsg{snap: snaps[i%len(snaps)]})
		m.dirty = true
		m.refresh()
	}
}
