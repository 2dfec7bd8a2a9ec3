package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Values of Health.Status.
const (
	statusOK       = "ok"
	statusDegraded = "degraded"
	statusStarting = "starting"
)

// healthNow is how the daemon does, with what the server knows itself.
func (s *Server) healthNow() Health {
	var h Health
	if s.cfg.Health != nil {
		h = s.cfg.Health()
	}
	if h.Version == "" {
		h.Version = s.cfg.Version
	}
	if s.cfg.View != nil {
		snap := s.cfg.View.Snapshot()
		c := api.CountsOf(&snap.Stats)
		h.Connections = &c
		if s.cfg.Health == nil {
			h.Ready = snap.Seq > 0
		}
	} else if s.cfg.Health == nil {
		h.Ready = true
	}
	if s.cfg.StoreStatus != nil {
		st := s.cfg.StoreStatus()
		h.Store = api.StoreHealthOf(&st)
	}
	h.Server = api.ServerHealth{
		Streams: int(s.streams.Load()), Queries: len(s.queries),
		Refused: s.counts.refused.Load(), Denied: s.counts.denied.Load(),
	}
	for i := range s.counts.classes {
		h.Server.Requests += s.counts.classes[i].Load()
	}
	switch {
	case !h.Ready:
		h.Status = statusStarting
	case h.Warning != "", h.Store != nil && h.Store.State != store.StateOK.String(), h.Connections != nil && h.Connections.Incomplete != "":
		h.Status = statusDegraded
	default:
		h.Status = statusOK
	}
	return h
}

func (s *Server) health(w *response, _ *request) error {
	return writeJSON(w, http.StatusOK, s.healthNow())
}

// healthz says that the daemon answers.
func (s *Server) healthz(w *response, _ *request) error {
	return writeJSON(w, http.StatusOK, api.Probe{Status: statusOK})
}

// maxChallenge is the longest challenge, characters.
const maxChallenge = 128

// readyz says whether connections are being shown.
func (s *Server) readyz(w *response, r *request) error {
	p := api.Probe{Status: "ready"}
	if c := r.query.Get("challenge"); len(c) > maxChallenge {
		return api.BadParameter("challenge", "it is longer than 128 characters")
	} else if c != "" {
		p.Proof = api.Proof(s.cfg.Token, c)
	}
	status := http.StatusOK
	if h := s.healthNow(); !h.Ready || s.done.Err() != nil {
		p.Status, status = statusStarting, http.StatusServiceUnavailable
	}
	return writeJSON(w, status, p)
}

// fields describes the registry.
func (s *Server) fields(w *response, _ *request) error {
	return writeJSON(w, http.StatusOK, struct {
		Fields []api.FieldInfo `json:"fields"`
	}{api.FieldInfos()})
}

// Limits of a mark, bytes.
const (
	maxMarkText = 4096
	maxMarkFrom = 256
)

// mark keeps a note on the timeline.
func (s *Server) mark(w *response, r *request) error {
	if s.cfg.Mark == nil {
		return absent("this daemon keeps no marks: it has no history")
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		return api.NewProblem(http.StatusUnsupportedMediaType, api.ProblemBadRequest, "a mark is sent as application/json")
	}
	var m api.Mark
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return err
		}
		return api.NewProblem(http.StatusBadRequest, api.ProblemBadRequest, `the body is no mark such as {"text":"deploy 1.4"}: `+err.Error())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return api.NewProblem(http.StatusBadRequest, api.ProblemBadRequest, "the body has more than one mark")
	}
	m.Text = strings.TrimSpace(m.Text)
	switch {
	case m.Text == "":
		return api.BadParameter("text", "a mark without a text says nothing")
	case len(m.Text) > maxMarkText:
		return api.BadParameter("text", "it is longer than 4096 bytes")
	case len(m.From) > maxMarkFrom:
		return api.BadParameter("from", "it is longer than 256 bytes")
	}
	if m.Time.IsZero() {
		m.Time = r.now
	}
	m.Time = m.Time.UTC()
	if y := m.Time.Year(); y < 1970 || y > 2200 {
		return api.BadParameter("time", "it is out of range")
	}
	var host string
	if s.cfg.Health != nil {
		host = s.cfg.Health().Host
	}
	if err := s.cfg.Mark(r.Context(), store.Mark{Time: m.Time.UnixNano(), Host: host, Text: m.Text, From: m.From}); err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, m)
}

// usage answers with how busy the host was.
func (s *Server) usage(w *response, r *request) error {
	if s.cfg.Usage == nil {
		return absent("this daemon does not measure the host")
	}
	from, to, err := api.ParseRange(r.query, r.now, time.Hour)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", typeJSON)
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, release, err := s.query(r.Context())
	if err != nil {
		return err
	}
	defer release()
	b := []byte(`{"samples":[`)
	n := 0
	err = s.cfg.Usage.Usage(ctx, from, to, func(u UsageSample) error {
		if n >= s.cfg.Limits.MaxRows {
			return errEnough
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = appendUsage(append(b, '\n'), &u)
		if len(b) < writeAt {
			return nil
		}
		_, werr := w.Write(b)
		b = b[:0]
		return werr
	})
	limited := errors.Is(err, errEnough)
	if err != nil && !limited {
		return err
	}
	b = append(b, "\n],\"limited\":"...)
	b = append(strconv.AppendBool(b, limited), "}\n"...)
	_, err = w.Write(b)
	return err
}

func appendUsage(b []byte, u *UsageSample) []byte {
	b = append(b, `{"time":"`...)
	b = append(tcp.AppendTime(b, u.Time), '"')
	text := func(key, s string) {
		if s != "" {
			b = append(append(append(b, `,"`...), key...), `":`...)
			b = api.AppendString(b, s)
		}
	}
	text("host", u.Host)
	text("scope", u.Scope)
	if u.PID != 0 {
		b = strconv.AppendInt(append(b, `,"pid":`...), int64(u.PID), 10)
	}
	text("process", u.Process)
	b = append(b, `,"values":{`...)
	first := true
	for _, v := range u.Values {
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			continue // JSON has neither
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(api.AppendString(b, v.Name), ':')
		b = api.AppendNumber(b, v.Value)
	}
	return append(b, "}}"...)
}

// exportTrailer tells at the end of an export what it wrote: without it the file
// is not whole.
const exportTrailer = "Viewtcp-Export"

// packets exports recorded packets.
func (s *Server) packets(w *response, r *request) error {
	if s.cfg.Packets == nil {
		sentence := "this daemon records no packets"
		if s.cfg.Health != nil {
			if why := s.cfg.Health().Packets; why != "" {
				sentence += ": " + why
			}
		}
		return absent(sentence)
	}
	q := PacketQuery{}
	var err error
	if q.From, q.To, err = api.ParseRange(r.query, r.now, longAgo); err != nil {
		return err
	}
	if text := r.query.Get("filter"); text != "" {
		if q.Filter, err = filter.ParseWith(text, s.cfg.FilterOptions()); err != nil {
			return err
		}
	}
	for _, list := range r.query["id"] {
		for text := range strings.SplitSeq(list, ",") {
			id, ok := tcp.ParseID(text)
			if !ok {
				return api.BadParameter("id", quote(text)+" is no id of a connection")
			}
			q.IDs = append(q.IDs, id)
		}
	}
	if text := r.query.Get("max_bytes"); text != "" {
		n, err := filter.ParseSize(text)
		if err != nil || n > 1<<62 {
			return api.BadParameter("max_bytes", quote(text)+" is no size such as 100MiB")
		}
		q.MaxBytes = int64(n)
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-pcapng")
	h.Set("Content-Disposition", `attachment; filename="viewtcp.pcapng"`)
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, release, err := s.query(r.Context())
	if err != nil {
		return err
	}
	defer release()
	h.Set("Trailer", exportTrailer)
	done, err := s.cfg.Packets.Export(ctx, w, q)
	if err != nil {
		return err
	}
	if done.Packets == 0 && !w.sent {
		return fmt.Errorf("no recorded packet matches: %w", fs.ErrNotExist)
	}
	text, err := json.Marshal(api.Exported{
		Packets: done.Packets, Bytes: done.Bytes, Connections: done.Connections,
		First: done.First, Last: done.Last, Note: done.Note,
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil { // trailers need a body in chunks
		return err
	}
	h.Set(exportTrailer, string(asciiJSON(text)))
	return nil
}

// asciiJSON escapes what a header cannot hold.
func asciiJSON(text []byte) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(string(text))) {
		if unit < 0x80 {
			out = append(out, byte(unit))
		} else {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	return out
}

// metrics writes the daemon's metrics and the server's own.
func (s *Server) metrics(w *response, _ *request) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if s.cfg.Metrics != nil {
		if err := s.cfg.Metrics(w); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	family := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	family("viewtcp_http_requests_total", "counter", "Answers by class of status.")
	for i := 1; i < len(s.counts.classes); i++ {
		fmt.Fprintf(&b, "viewtcp_http_requests_total{class=\"%dxx\"} %d\n", i, s.counts.classes[i].Load())
	}
	for _, m := range []struct {
		name, kind, help string
		value            uint64
	}{
		{"viewtcp_http_denied_total", "counter", "Requests without a valid token.", s.counts.denied.Load()},
		{"viewtcp_http_refused_total", "counter", "Requests refused because a limit was reached.", s.counts.refused.Load()},
		{"viewtcp_http_written_bytes_total", "counter", "Bytes of bodies written, after compression.", s.counts.written.Load()},
		{"viewtcp_http_streams_dropped_total", "counter", "Streams ended because their reader was too slow.", s.counts.dropped.Load()},
		{"viewtcp_http_stream_gaps_total", "counter", "Gaps that readers of events were told of.", s.counts.gaps.Load()},
		{"viewtcp_http_streams", "gauge", "Streams open.", uint64(max(s.streams.Load(), 0))},
		{"viewtcp_http_queries", "gauge", "Questions to the store being answered.", uint64(len(s.queries))},
	} {
		family(m.name, m.kind, m.help)
		fmt.Fprintf(&b, "%s %d\n", m.name, m.value)
	}
	_, err := w.Write(b.Bytes())
	return err
}
