package web

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A route is one resource and how it answers.
type route struct {
	path string
	// public needs no token; page answers those without one with the way to log
	// in instead of a problem.
	public, page bool
	// params are the query parameters; others are refused, because a misspelt
	// filter would show everything.
	params    []string
	get, post handler
}

// handler answers a request. An error that it returns becomes a problem, unless
// something was sent.
type handler func(w *response, r *request) error

// request is a request whose parameters are known to exist.
type request struct {
	*http.Request
	query url.Values
	now   time.Time
}

func (s *Server) allRoutes() []route {
	const v1 = "/api/v1"
	rs := []route{
		{path: "/", page: true, params: []string{"launch"}, get: s.startPage},
		{path: "/login", public: true, get: s.loginPage, post: s.login},
		{path: "/logout", public: true, post: s.logout},
		{path: "/static/{file}", public: true, get: s.static},
		{path: "/healthz", public: true, get: s.healthz},
		{path: "/readyz", public: true, params: []string{"challenge"}, get: s.readyz},
		{path: "/metrics", get: s.metrics},
		{path: v1 + "/connections", params: []string{"filter", "columns", "sort", "reverse", "limit", "at"}, get: s.connections},
		{path: v1 + "/connections/{id}", params: []string{"columns", "since", "until"}, get: s.connection},
		{path: v1 + "/connections/{id}/samples", params: []string{"since", "until", "format"}, get: s.samples},
		{path: v1 + "/events", params: []string{"filter", "columns", "events", "last_event_id"}, get: s.events},
		{path: v1 + "/live", params: []string{"filter", "columns", "interval"}, get: s.live},
		{path: v1 + "/history", params: append(api.QueryParameters(), "rows", "whole", "format"), get: s.history},
		{path: v1 + "/history/events", params: []string{"since", "until", "types", "format", "limit"}, get: s.pastEvents},
		{path: v1 + "/peaks", params: []string{"since", "until", "filter", "group_by", "every", "top", "resolution", "memory", "format"}, get: s.peaks},
		{path: v1 + "/top", params: []string{"since", "until", "filter", "group_by", "by", "n", "resolution", "memory", "format"}, get: s.top},
		{path: v1 + "/heatmap", params: []string{"since", "until", "filter", "field", "value", "every", "n", "resolution", "memory"}, get: s.heatmap},
		{path: v1 + "/packets", params: []string{"since", "until", "filter", "id", "max_bytes"}, get: s.packets},
		{path: v1 + "/fields", get: s.fields},
		{path: v1 + "/health", get: s.health},
		{path: v1 + "/marks", params: []string{"since", "until", "format", "limit"}, get: s.marks, post: s.mark},
		{path: v1 + "/usage", params: []string{"since", "until"}, get: s.usage},
	}
	return rs
}

func (s *Server) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	for i := range s.routes {
		rt := &s.routes[i]
		pattern := rt.path
		if pattern == "/" {
			pattern = "/{$}"
		}
		mux.Handle(pattern, routed{s, rt})
	}
	mux.Handle("/", routed{s, &route{get: func(_ *response, r *request) error {
		return api.NewProblem(http.StatusNotFound, api.ProblemNotFound, "there is nothing at "+quote(r.URL.Path)+"; docs/openapi.yaml lists what there is")
	}}})
	return mux
}

// routed is a route as the mux wants it; the response was made before.
type routed struct {
	s  *Server
	rt *route
}

// ServeHTTP implements http.Handler.
func (h routed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resp, ok := w.(*response)
	if !ok {
		resp = h.s.newResponse(w, r)
		defer resp.finish()
	}
	if err := h.s.dispatch(resp, r, h.rt); err != nil {
		h.s.fail(resp, r, err)
	}
}

// serve is the way in for all requests.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	resp := s.newResponse(w, r)
	defer resp.finish()
	secureHeaders(resp.Header())
	if !s.guard.hostAllowed(r) {
		s.fail(resp, r, api.NewProblem(http.StatusMisdirectedRequest, api.ProblemHost,
			"this server is not called "+quote(r.Host)+": names of its own are added with the setting hosts"))
		return
	}
	if len(r.URL.RawQuery) > maxQuery {
		s.fail(resp, r, api.NewProblem(http.StatusRequestURITooLong, api.ProblemTooLarge, "the query is longer than 32 KiB"))
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, s.cfg.Limits.Body)
	s.mux.ServeHTTP(resp, r)
}

// maxQuery is the longest query of a URL, bytes.
const maxQuery = 32 << 10

// secureHeaders sets what browsers shall keep to. There is no header of CORS: no
// page but the own ones may read anything.
func secureHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept-Encoding")
}

// dispatch checks who asks for what, and answers.
func (s *Server) dispatch(w *response, r *http.Request, rt *route) error {
	now := time.Now()
	if err := s.cross.Check(r); err != nil {
		return api.NewProblem(http.StatusForbidden, api.ProblemCrossOrigin, "a page of another origin may not do this")
	}
	if !rt.public {
		if page, err := s.admit(w, r, rt, now); err != nil || page {
			return err
		}
	}
	var h handler
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h = rt.get
	case http.MethodPost:
		h = rt.post
	}
	if h == nil {
		w.Header().Set("Allow", rt.allow())
		return api.NewProblem(http.StatusMethodNotAllowed, api.ProblemMethod, r.Method+" is not possible here: "+rt.allow()+" is")
	}
	req := &request{Request: r, now: now}
	var err error
	if req.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return api.NewProblem(http.StatusBadRequest, api.ProblemBadRequest, "the query of the URL is malformed: a % is not followed by two hexadecimal digits, or ; is used")
	}
	for name, values := range req.query {
		if !slices.Contains(rt.params, name) && rt.path != "" {
			p := api.BadParameter(cutName(name), "there is no such parameter here")
			p.Suggestion = filter.Nearest(cutName(name), rt.params)
			return p
		}
		if len(values) > 1 && name != "id" {
			return api.BadParameter(name, "it is given more than once")
		}
	}
	return h(w, req)
}

func cutName(s string) string { return s[:min(len(s), 64)] }

// allow lists the methods of a route.
func (rt *route) allow() string {
	var ms []string
	if rt.get != nil {
		ms = append(ms, "GET", "HEAD")
	}
	if rt.post != nil {
		ms = append(ms, "POST")
	}
	return strings.Join(ms, ", ")
}

// admit lets a request through, or says why not; page says that the way to log in
// was shown.
func (s *Server) admit(w *response, r *http.Request, rt *route, now time.Time) (page bool, err error) {
	switch s.guard.allow(r, now) {
	case byToken, bySession:
		return false, nil
	case limited:
		s.counts.denied.Add(1)
		p := api.NewProblem(http.StatusTooManyRequests, api.ProblemLimit, "too many wrong tokens came from this address: wait a minute")
		p.RetryAfter = int(failureWindow / time.Second)
		return false, p
	default:
	}
	if rt.page && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return true, s.welcome(w, r, now)
	}
	s.counts.denied.Add(1)
	w.Header().Set("WWW-Authenticate", `Bearer realm="viewtcp"`)
	return false, api.NewProblem(http.StatusUnauthorized, api.ProblemUnauthorized, "a token is needed: send Authorization: Bearer TOKEN with the content of the file token in the daemon's data directory")
}

// fail answers with a problem.
func (s *Server) fail(w *response, r *http.Request, err error) {
	p := problemOf(err)
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		s.counts.refused.Add(1)
	case http.StatusInternalServerError:
		s.log.Error("request failed", "path", r.URL.Path, "error", err.Error())
	}
	if !w.restart() {
		// The reader has a part of the answer: it must not take that for the whole.
		s.log.Debug("answer broken off", "path", r.URL.Path, "error", err.Error())
		if r.Context().Err() == nil && !errors.Is(err, errTold) {
			panic(http.ErrAbortHandler) //nolint:forbidigo // the way of net/http to cut a connection
		}
		return
	}
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	_ = writeTyped(w, p.Status, api.ProblemType, p)
}

// errTold wraps an error that stands in the answer itself.
var errTold = errors.New("told in the answer")

// problemOf finds the problem that an error is.
func problemOf(err error) *api.Problem {
	var (
		p    *api.Problem
		ferr *filter.Error
		size *http.MaxBytesError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &ferr):
		p = api.NewProblem(http.StatusBadRequest, api.ProblemFilter, ferr.Msg)
		p.Parameter, p.Column, p.Suggestion = "filter", ferr.Column(), ferr.Suggestion
		pos, end := ferr.Pos, max(ferr.End, ferr.Pos)
		p.Position, p.End = &pos, &end
		return p
	case errors.As(err, &size):
		return api.NewProblem(http.StatusRequestEntityTooLarge, api.ProblemTooLarge, "the body is longer than "+strconv.FormatInt(size.Limit, 10)+" bytes")
	case errors.Is(err, store.ErrMemory):
		return api.NewProblem(http.StatusUnprocessableEntity, api.ProblemMemory, err.Error())
	case errors.Is(err, store.ErrInvalid):
		return api.NewProblem(http.StatusBadRequest, api.ProblemBadRequest, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		p = api.NewProblem(http.StatusServiceUnavailable, api.ProblemTime, "the question takes too long: ask about less")
		p.RetryAfter = retryAfter
		return p
	case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUnavailable), errors.Is(err, errClosing), errors.Is(err, context.Canceled):
		p = api.NewProblem(http.StatusServiceUnavailable, api.ProblemUnavailable, err.Error())
		p.RetryAfter = retryAfter
		return p
	case errors.Is(err, tcp.ErrNotSupported):
		return api.NewProblem(http.StatusNotImplemented, api.ProblemAbsent, err.Error())
	case errors.Is(err, fs.ErrNotExist):
		return api.NewProblem(http.StatusNotFound, api.ProblemNotFound, err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return api.NewProblem(http.StatusBadRequest, api.ProblemBadRequest, "the body ends too early")
	default:
		return api.NewProblem(http.StatusInternalServerError, api.ProblemInternal, err.Error())
	}
}

// absent is the problem of what this daemon does not have.
func absent(sentence string) error {
	return api.NewProblem(http.StatusNotImplemented, api.ProblemAbsent, sentence)
}

// quote shows what a stranger sent, short and harmless.
func quote(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return strconv.QuoteToASCII(s)
}
