package web

import (
	"bytes"
	"cmp"
	"embed"
	"html/template"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/text"
)

//go:embed assets
var assets embed.FS

var pages = template.Must(template.New("").ParseFS(assets, "assets/*.html"))

// static serves the few files that the pages need. They are embedded: a path
// leads nowhere else.
func (s *Server) static(w *response, r *request) error {
	name := r.PathValue("file")
	kind, ok := map[string]string{".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)]
	if !ok {
		return api.NewProblem(http.StatusNotFound, api.ProblemNotFound, "there is no such file")
	}
	b, err := assets.ReadFile("assets/" + name)
	if err != nil {
		return api.NewProblem(http.StatusNotFound, api.ProblemNotFound, "there is no such file")
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "private, max-age=300")
	_, err = w.Write(b)
	return err
}

// writePage writes a page. It is made as a whole before anything is sent.
func writePage(w *response, status int, name string, data any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// loginData is what the page to log in shows.
type loginData struct{ Message string }

func (s *Server) loginPage(w *response, _ *request) error {
	return writePage(w, http.StatusOK, "login.html", loginData{})
}

// welcome shows one who is not logged in how to, or takes the launch code that he
// came with.
func (s *Server) welcome(w *response, r *http.Request, now time.Time) error {
	code := r.URL.Query().Get("launch")
	if code == "" {
		seeOther(w, "/login")
		return nil
	}
	if r.Method != http.MethodGet { // a look at the link must not use it up
		seeOther(w, "/")
		return nil
	}
	if s.guard.launch(code, now) {
		s.guard.login(w, r, now)
		seeOther(w, "/")
		return nil
	}
	return s.wrong(w, r, now, "This launch link was used already, or is too old. Log in with the token instead.")
}

// login takes the token of a form.
func (s *Server) login(w *response, r *request) error {
	if err := r.ParseForm(); err != nil {
		return api.NewProblem(http.StatusBadRequest, api.ProblemBadRequest, "the form is malformed")
	}
	if !s.guard.isToken(strings.TrimSpace(r.PostForm.Get("token"))) {
		return s.wrong(w, r.Request, r.now, "This is not the token.")
	}
	s.guard.login(w, r.Request, r.now)
	seeOther(w, "/")
	return nil
}

// wrong shows the page to log in again.
func (s *Server) wrong(w *response, r *http.Request, now time.Time, message string) error {
	s.counts.denied.Add(1)
	status := http.StatusUnauthorized
	if s.guard.fail(r, now) == limited {
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "60")
		message = "Too many wrong attempts came from this address: wait a minute."
	}
	return writePage(w, status, "login.html", loginData{Message: message})
}

func (s *Server) logout(w *response, r *request) error {
	s.guard.logout(w, r.Request)
	seeOther(w, "/login")
	return nil
}

func seeOther(w *response, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// startData is what the start page shows. Its texts are clean.
type startData struct {
	Host, Version, Source, Status, Warning, Time string
	HasView                                      bool
	Open, Listening, HalfOpen, Remnants          string
	Opened, Closed, Retransmitting, Lost         string
	SendRate, ReceiveRate, LoopbackRate          string
	States                                       []stateRow
	Processes, Remotes                           []talker
	Store                                        *storeRow
	Packets                                      string
}

// stateRow is one state with its share of the largest, for a bar.
type stateRow struct {
	Name  string
	Count int
	// Share is of the most frequent state, percent.
	Share int
}

// talker is a process or a remote address by its rates.
type talker struct {
	Name                        string
	Conns                       int
	Send, Receive, RTT, Retrans string
	Share                       int
	rate                        uint64
}

type storeRow struct{ State, Reason, Rows, Bytes, Since string }

const maxTalkers = 10

// startPage shows the state of the host at a glance.
func (s *Server) startPage(w *response, r *request) error {
	if r.query.Has("launch") { // one who is logged in already has no use for it
		seeOther(w, "/")
		return nil
	}
	h := s.healthNow()
	d := &startData{
		Host: text.Clean(h.Host), Version: text.Clean(h.Version), Source: text.Clean(h.Source),
		Status: h.Status, Warning: text.Clean(h.Warning), HasView: s.cfg.View != nil,
		Time: r.now.Format("2006-01-02 15:04:05 MST"),
	}
	if s.cfg.View != nil {
		d.fill(s.cfg.View.Snapshot())
	}
	if h.Store != nil {
		d.Store = &storeRow{
			State: h.Store.State, Reason: text.Clean(h.Store.Reason),
		}
		if n := h.Store.Bytes + h.Store.Log; n > 0 {
			d.Store.Bytes = bytesText(uint64(n))
		}
		for _, t := range h.Store.Tables {
			if t.Table == store.Connections.String() {
				d.Store.Rows = countText(t.Rows + h.Store.Unsealed)
				if !t.First.IsZero() {
					d.Store.Since = t.First.Format("2006-01-02 15:04")
				}
			}
		}
	}
	switch {
	case h.Recorder != nil:
		d.Packets = countText(h.Recorder.Packets) + " packets, " + bytesText(h.Recorder.Bytes)
	case h.Packets != "":
		d.Packets = text.Clean(h.Packets)
	}
	w.Header().Set("Refresh", "5")
	return writePage(w, http.StatusOK, "start.html", d)
}

func countText(n uint64) string { return string(text.AppendCount(nil, int64(n))) }

// bytesText is a number of bytes with its unit.
func bytesText(n uint64) string {
	s := string(text.AppendBytes(nil, n))
	if unit := s[len(s)-1]; unit > '9' {
		return s[:len(s)-1] + " " + string(unit) + "iB"
	}
	return s + " B"
}

func rateText(n uint64) string { return bytesText(n) + "/s" }

// fill reads the figures out of a snapshot.
func (d *startData) fill(snap *tcp.Snapshot) {
	st := &snap.Stats
	d.Open, d.Listening = countText(uint64(st.Open)), countText(uint64(st.Listening))
	d.HalfOpen, d.Remnants = countText(uint64(st.HalfOpen)), countText(uint64(st.Remnants))
	d.Opened, d.Closed = countText(st.Opened), countText(st.Closed)
	if st.Lost.Closes > 0 || st.Lost.Unknown {
		d.Lost = countText(st.Lost.Closes)
	}
	var (
		states             = map[string]int{} // by name
		send, receive      uint64
		loopback           uint64
		retransmitting     uint64
		processes, remotes = map[string]*talkerSum{}, map[string]*talkerSum{}
	)
	for _, c := range snap.Conns {
		states[c.State.String()]++
		if !c.Open() {
			continue
		}
		// Over loopback each byte is sent and received here: it would count twice.
		if c.Remote.IsLoopback() {
			if c.Has&tcp.HasSendRate != 0 {
				loopback += c.Metrics.SendRate
			}
		} else {
			if c.Has&tcp.HasSendRate != 0 {
				send += c.Metrics.SendRate
			}
			if c.Has&tcp.HasReceiveRate != 0 {
				receive += c.Metrics.ReceiveRate
			}
		}
		if c.Has&tcp.HasRetransmits != 0 && c.Metrics.Retransmits > 0 {
			retransmitting++
		}
		name := text.Unknown
		if c.Process != nil && c.Process.Name != "" {
			name = text.Clean(c.Process.Name)
		}
		sumOf(processes, name).add(c)
		remote := c.Remote.String()
		if c.Names != nil && c.Names.RemoteName != "" {
			remote = text.Clean(c.Names.RemoteName)
		}
		sumOf(remotes, remote).add(c)
	}
	d.SendRate, d.ReceiveRate, d.LoopbackRate = rateText(send), rateText(receive), rateText(loopback)
	d.Retransmitting = countText(retransmitting)
	names := tcp.StateNames()
	most := 0
	for _, name := range names {
		most = max(most, states[name])
	}
	for _, name := range names {
		if n := states[name]; n > 0 {
			d.States = append(d.States, stateRow{name, n, share(uint64(n), uint64(most))})
		}
	}
	d.Processes, d.Remotes = talkers(processes), talkers(remotes)
}

// talkerSum adds up the connections of a process or a remote address.
type talkerSum struct {
	conns               int
	send, receive       uint64
	retransmits         uint64
	hasRate, hasRetrans bool
	rttSum, rttCount    uint64
}

func sumOf(m map[string]*talkerSum, key string) *talkerSum {
	if m[key] == nil {
		m[key] = &talkerSum{}
	}
	return m[key]
}

func (t *talkerSum) add(c *tcp.Conn) {
	t.conns++
	if c.Has&(tcp.HasSendRate|tcp.HasReceiveRate) != 0 {
		t.hasRate = true
		t.send += c.Metrics.SendRate
		t.receive += c.Metrics.ReceiveRate
	}
	if c.Has&tcp.HasRetransmits != 0 {
		t.hasRetrans = true
		t.retransmits += uint64(c.Metrics.Retransmits)
	}
	if c.Has&tcp.HasRTT != 0 {
		t.rttSum += uint64(c.Metrics.RTT)
		t.rttCount++
	}
}

// talkers are those with the highest rates, and then with most connections.
func talkers(m map[string]*talkerSum) []talker {
	list := make([]talker, 0, len(m))
	for name, t := range m {
		row := talker{Name: name, Conns: t.conns, Send: text.Unknown, Receive: text.Unknown, RTT: text.Unknown, Retrans: text.Unknown, rate: t.send + t.receive}
		if t.hasRate {
			row.Send, row.Receive = rateText(t.send), rateText(t.receive)
		}
		if t.hasRetrans {
			row.Retrans = countText(t.retransmits)
		}
		if t.rttCount > 0 {
			row.RTT = string(text.AppendMicros(nil, t.rttSum/t.rttCount))
		}
		list = append(list, row)
	}
	slices.SortFunc(list, func(a, b talker) int {
		return cmp.Or(cmp.Compare(b.rate, a.rate), cmp.Compare(b.Conns, a.Conns), strings.Compare(a.Name, b.Name))
	})
	list = list[:min(len(list), maxTalkers)]
	for i := range list {
		list[i].Share = share(list[i].rate, max(list[0].rate, 1))
	}
	return list
}

// share is a part of the most in percent; what is not nothing shows.
func share(n, most uint64) int {
	if n == 0 {
		return 0
	}
	return max(int(float64(n)/float64(most)*100), 1)
}
