package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/filter"
)

// Server answers requests. It is safe for concurrent use.
type Server struct {
	cfg    Config
	log    *slog.Logger
	guard  *guard
	hub    *hub
	coders coders
	routes []route
	mux    *http.ServeMux
	cross  *http.CrossOriginProtection

	// done ends with Close, and with it all streams.
	done context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	queries chan struct{}
	streams atomic.Int64
	counts  counts
}

// counts are what the server tells of itself.
type counts struct {
	// classes counts answers by the first digit of their status.
	classes [6]atomic.Uint64
	// refused for a limit; denied for lack of a token.
	refused, denied atomic.Uint64
	// dropped are streams whose reader did not take what was written; gaps are
	// the gaps that readers of events were told of.
	dropped, gaps atomic.Uint64
	written       atomic.Uint64
}

// minToken is the shortest token that is accepted, in characters.
const minToken = 16

// New returns a server. It follows the events of cfg.View until Close.
func New(cfg Config) (*Server, error) {
	if len(cfg.Token) < minToken {
		return nil, fmt.Errorf("starting the web server: a token of at least %d characters is needed", minToken)
	}
	cfg.Limits = cfg.Limits.orDefault()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.FilterOptions == nil {
		cfg.FilterOptions = func() filter.Options { return filter.Options{Now: time.Now()} }
	}
	s := &Server{
		cfg: cfg, log: cfg.Log.With("component", "web"),
		guard:   newGuard(&cfg),
		coders:  newCoders(),
		queries: make(chan struct{}, cfg.Limits.Queries),
		cross:   http.NewCrossOriginProtection(),
	}
	s.done, s.stop = context.WithCancel(context.Background())
	s.routes = s.allRoutes()
	s.mux = s.newMux()
	if cfg.View != nil {
		s.hub = newHub(cfg.Limits.Replay)
		sub := cfg.View.Subscribe(hubBuffer)
		s.work.Go(func() {
			defer sub.Close()
			s.hub.follow(s.done, sub)
		})
	}
	return s, nil
}

// orDefault fills in the limits that were not given.
func (l Limits) orDefault() Limits {
	d := DefaultLimits()
	for _, p := range []struct{ given, usual *int }{
		{&l.Streams, &d.Streams},
		{&l.Queries, &d.Queries},
		{&l.Rows, &d.Rows},
		{&l.MaxRows, &d.MaxRows},
		{&l.Replay, &d.Replay},
		{&l.Failures, &d.Failures},
		{&l.Sessions, &d.Sessions},
	} {
		if *p.given <= 0 {
			*p.given = *p.usual
		}
	}
	for _, p := range []struct{ given, usual *time.Duration }{
		{&l.QueryWait, &d.QueryWait},
		{&l.QueryTime, &d.QueryTime},
		{&l.Write, &d.Write},
		{&l.Heartbeat, &d.Heartbeat},
		{&l.Tick, &d.Tick},
		{&l.Launch, &d.Launch},
		{&l.Session, &d.Session},
	} {
		if *p.given <= 0 {
			*p.given = *p.usual
		}
	}
	if l.QueryMemory <= 0 {
		l.QueryMemory = d.QueryMemory
	}
	if l.Body <= 0 {
		l.Body = d.Body
	}
	return l
}

// Handler returns what answers requests.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Limits of requests that net/http enforces.
const (
	maxHeader     = 32 << 10
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	idleTimeout   = 2 * time.Minute
)

// HTTPServer returns an http.Server with the limits that keep strangers from
// holding its memory and its time. The caller serves and shuts it down; Close
// ends the streams that would hold the shutdown up.
func (s *Server) HTTPServer() *http.Server {
	hs := &http.Server{
		Handler: s.Handler(), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	hs.RegisterOnShutdown(s.stop)
	return hs
}

// Close ends all streams and what the server runs. Requests that come later are
// answered, but for streams.
func (s *Server) Close() {
	s.stop()
	s.work.Wait()
}

// Launch returns the path and query of a URL that logs a browser in, once, within
// Limits.Launch. It is for the eyes of who started the server.
func (s *Server) Launch() string { return "/?launch=" + s.guard.newLaunch() }

// query takes a slot for a question to the store, and bounds its time. release
// must be called.
func (s *Server) query(ctx context.Context) (_ context.Context, release func(), err error) {
	wait := time.NewTimer(s.cfg.Limits.QueryWait)
	defer wait.Stop()
	select {
	case s.queries <- struct{}{}:
	default:
		select {
		case s.queries <- struct{}{}:
		case <-wait.C:
			return nil, nil, s.busy("all %d places for questions to the store are taken", cap(s.queries))
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Limits.QueryTime)
	ends := context.AfterFunc(s.done, cancel)
	return ctx, func() { ends(); cancel(); <-s.queries }, nil
}

// retryAfter is how long a reader who was refused should wait, seconds.
const retryAfter = 2

// busy is the problem of a limit that is reached for now.
func (s *Server) busy(format string, args ...any) error {
	p := api.NewProblem(http.StatusServiceUnavailable, api.ProblemBusy, fmt.Sprintf(format, args...)+": try again later")
	p.RetryAfter = retryAfter
	return p
}

var errClosing = errors.New("the daemon is stopping")
