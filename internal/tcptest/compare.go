package tcptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A Row is one JSON object of viewtcp list -o jsonl.
type Row map[string]any

// ParseRows reads JSON objects, one after the other.
func ParseRows(r io.Reader) ([]Row, error) {
	var rows []Row
	dec := json.NewDecoder(r)
	dec.UseNumber() // float64 would lose the low bits of large counters
	for {
		var row Row
		if err := dec.Decode(&row); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return nil, fmt.Errorf("row %d: %w", len(rows), err)
		}
		rows = append(rows, row)
	}
}

// RowOf renders what is known of a connection, as viewtcp list does: only known
// fields are present. Values are uint64, bool and string.
func RowOf(c *tcp.Conn) Row {
	row := Row{}
	for _, f := range tcp.Fields() {
		text, ok := f.AppendText(nil, c)
		if !ok {
			continue
		}
		switch f.Kind {
		case tcp.KindBool:
			row[f.Name] = string(text) == "true"
		case tcp.KindUint, tcp.KindDuration, tcp.KindBytes, tcp.KindRate, tcp.KindPort:
			row[f.Name] = number(string(text))
		default:
			row[f.Name] = string(text)
		}
	}
	return row
}

// RowOfObservation renders an observation, as a list with no other knowledge
// would.
func RowOfObservation(o *tcp.Observation) Row {
	return RowOf(&tcp.Conn{
		Key: o.Key, Cookie: o.Cookie, Has: o.Has, Metrics: o.Metrics, Handshake: o.Handshake,
		Inode: o.Inode, UID: o.UID, State: o.State, Direction: o.Direction, Attribution: o.Attribution,
		IPv6: o.IPv6, Opened: o.Opened, Updated: o.Time,
	})
}

// text returns a value's text form, "" for absent ones.
func (r Row) text(key string) string {
	switch v := r[key].(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// num returns a number, 0 for absent ones: ss does not tell the two apart.
func (r Row) num(key string) uint64 { return number(r.text(key)) }

func (r Row) has(key string) bool { return r[key] != nil }

// Key names the row's socket in messages.
func (r Row) Key() string {
	return fmt.Sprintf("%s %s:%s -> %s:%s (netns %s, cookie %s, inode %s)", r.text("state"), r.text("local_ip"), r.text("local_port"),
		r.text("remote_ip"), r.text("remote_port"), r.text("netns"), r.text("cookie"), r.text("inode"))
}

// A Diff is one disagreement between ViewTCP and ss that the clock does not
// explain.
type Diff struct {
	// Socket names the socket; Field what differs: a name of ss, a field, or
	// "socket" where one side does not have it at all.
	Socket, Field      string
	Got, Before, After string
}

func (d Diff) String() string {
	return fmt.Sprintf("%s: %s: got %q, ss said %q before and %q after", d.Socket, d.Field, d.Got, d.Before, d.After)
}

// CompareOptions says what is not to be expected.
type CompareOptions struct {
	// NoCookies finds sockets by namespace, addresses and inode.
	NoCookies bool
	// KnownOnly holds only those fields against ss that a row has, for sources
	// that cannot know more.
	KnownOnly bool
	// SkipValues compares the set of sockets, states and addresses only.
	SkipValues bool
	// Ignore leaves out sockets that the test has no part in. It is asked about
	// rows of both sides; those of ss have the same keys.
	Ignore func(Row) bool
}

// Compare holds rows against two runs of ss, one before and one after the rows
// were taken. A difference counts unless the two runs differ themselves in that
// value; counters must lie between the two even then.
func Compare(got []Row, before, after []SSRow, opts CompareOptions) []Diff {
	var diffs []Diff
	key := opts.key
	b, a := indexSS(before, &opts), indexSS(after, &opts)
	seen := make(map[string]bool, len(got))
	for _, row := range got {
		k := key(row)
		if opts.ignored(row) {
			continue
		}
		if seen[k] {
			diffs = append(diffs, Diff{Socket: row.Key(), Field: "socket", Got: "listed twice"})
			continue
		}
		seen[k] = true
		x, y := b[k], a[k]
		switch {
		case x == nil && y == nil:
			diffs = append(diffs, Diff{Socket: row.Key(), Field: "socket", Got: "listed"})
		case x != nil && y != nil:
			diffs = append(diffs, compareSocket(row, x, y, &opts)...)
		}
	}
	for i := range before {
		x := &before[i]
		k := key(x.Row())
		if y := a[k]; y != nil && b[k] == x && !seen[k] {
			diffs = append(diffs, Diff{Socket: x.Key(), Field: "socket", Before: "listed", After: "listed"})
		}
	}
	return diffs
}

func (o *CompareOptions) ignored(row Row) bool { return o.Ignore != nil && o.Ignore(row) }

// Ends returns the row's addresses; the remote one is :: or 0.0.0.0 and port 0
// where there is none.
func (r Row) Ends() (local, remote netip.AddrPort) {
	end := func(side string) netip.AddrPort {
		ip, _ := netip.ParseAddr(r.text(side + "_ip"))
		return netip.AddrPortFrom(ip, uint16(r.num(side+"_port")))
	}
	return end("local"), end("remote")
}

func (o *CompareOptions) key(row Row) string {
	if !o.NoCookies {
		return row.text("netns") + "/" + row.text("cookie")
	}
	return strings.Join([]string{
		row.text("netns"), row.text("local_ip"), plain(row.num("local_port")),
		row.text("remote_ip"), plain(row.num("remote_port")), plain(row.num("inode")),
	}, "/")
}

func indexSS(rows []SSRow, o *CompareOptions) map[string]*SSRow {
	m := make(map[string]*SSRow, len(rows))
	for i := range rows {
		if row := rows[i].Row(); !o.ignored(row) {
			m[o.key(row)] = &rows[i]
		}
	}
	return m
}

func compareSocket(row Row, before, after *SSRow, o *CompareOptions) []Diff {
	var diffs []Diff
	check := func(field, got, b, a string) {
		if got != b && got != a && b == a {
			diffs = append(diffs, Diff{Socket: row.Key(), Field: field, Got: got, Before: b, After: a})
		}
	}
	wantB, wantA := before.Row(), after.Row()
	for _, f := range []string{"state", "local_ip", "remote_ip"} {
		check(f, row.text(f), wantB.text(f), wantA.text(f))
	}
	for _, f := range []string{"local_port", "remote_port"} {
		check(f, plain(row.num(f)), plain(wantB.num(f)), plain(wantA.num(f)))
	}
	if o.SkipValues || before.State != after.State || before.Mini() != after.Mini() {
		return diffs
	}
	if before.Mini() {
		return append(diffs, checkMini(row, before)...)
	}
	details := []string{"uid", "inode", "recv_queue", "send_queue", "congestion_control"}
	if before.State == tcp.Listen {
		details = []string{"uid", "inode", "accept_queue", "backlog"}
	}
	for _, f := range details {
		if row.has(f) || !o.KnownOnly {
			got, b, a := row.text(f), wantB.text(f), wantA.text(f)
			if f == "inode" { // absent and 0 both mean: no file
				got, b, a = plain(row.num(f)), plain(wantB.num(f)), plain(wantA.num(f))
			}
			check(f, got, b, a)
		}
	}
	if before.State == tcp.Listen {
		return diffs
	}
	if row.has("app_limited") || (!o.KnownOnly && before.Tokens["delivery_rate"] != "") {
		check("app_limited", row.text("app_limited"), strconv.FormatBool(before.AppLimited), strconv.FormatBool(after.AppLimited))
	}
	var fin uint64
	if finStates.Has(before.State) {
		fin = 1
	}
	for i := range ssTokens {
		t := &ssTokens[i]
		if o.KnownOnly && !row.has(t.keys[0]) {
			continue
		}
		got, b, a := t.print(row, fin), t.said(before), t.said(after)
		if t.counter && b != a && (number(got) < number(b) || number(got) > number(a)) {
			diffs = append(diffs, Diff{Socket: row.Key(), Field: t.name, Got: got, Before: b, After: a})
			continue
		}
		check(t.name, got, b, a)
	}
	return diffs
}

// said is the part of what ss printed that print makes.
func (t *ssToken) said(r *SSRow) string {
	s, ok := r.Tokens[t.name]
	if ok && t.cut != nil {
		return t.cut(s)
	}
	return s
}

// checkMini makes sure that nothing is claimed of a socket of which the kernel
// keeps nothing.
func checkMini(row Row, r *SSRow) []Diff {
	var diffs []Diff
	for _, t := range ssTokens {
		for _, k := range t.keys {
			// A request socket counts how often its SYN-ACK was sent again.
			if row.has(k) && k != "retransmits" {
				diffs = append(diffs, Diff{Socket: r.Key(), Field: k, Got: row.text(k) + " of a socket without metrics"})
			}
		}
	}
	return diffs
}
