package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/web"
)

// webServer is the HTTP side of a daemon.
type webServer struct {
	*web.Server
	http *http.Server
}

func newWebServer(d *daemon) (*webServer, error) {
	cfg := web.Config{
		View: d.around.view(d.view), Usage: d.usage(), Health: d.health, Metrics: d.metrics,
		Packets: &recordedPackets{dir: d.recorder.dir, flush: d.recorder.flush, past: d.querier()},
		Token:   d.token, Hosts: append(d.listening.names(), d.cfg.hosts...), Version: version,
		FilterOptions: filterOptions, Log: d.log,
	}
	if d.engine != nil {
		cfg.Store, cfg.StoreStatus, cfg.Mark = d.engine, d.engine.Status, d.history.mark
	}
	s, err := web.New(cfg)
	if err != nil {
		return nil, err
	}
	return &webServer{s, s.HTTPServer()}, nil
}

// querier is history, or nil where there is none.
func (d *daemon) querier() store.Querier {
	if d.engine == nil {
		return nil // and no interface around a nil pointer
	}
	return d.engine
}

// health is how the daemon does.
func (d *daemon) health() web.Health {
	st := d.view.status()
	h := web.Health{
		Host: hostname(), BootID: bootID(), PID: os.Getpid(), Started: d.started.UTC(),
		Warning: d.missing(), Features: d.collect.found(),
	}
	select {
	case <-d.collect.ready:
		h.Ready, h.Source = true, st.Source.String()
	default:
	}
	n, why := d.recorder.counts()
	if why != "" {
		h.Packets = why
		return h
	}
	h.Recorder = &api.Recorder{Packets: n.recorded, Dropped: n.dropped + n.lost, Bytes: uint64(n.bytes)}
	return h
}

// serve answers until stop.
func (w *webServer) serve(l *listening) error {
	if l.tls == nil {
		return unlessClosed(w.http.Serve(l.main))
	}
	w.http.TLSConfig = l.tls
	ended := make(chan error, 2)
	go func() { ended <- unlessClosed(w.http.ServeTLS(l.main, "", "")) }()
	go func() { ended <- unlessClosed(w.http.Serve(l.local)) }()
	err := <-ended
	if err != nil {
		_ = w.http.Close() // the other one alone is no service
	}
	return errors.Join(err, <-ended)
}

func unlessClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// stop ends streams, lets requests finish for a moment and cuts off the rest.
func (w *webServer) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stopHTTP)
	defer cancel()
	if w.http.Shutdown(ctx) != nil {
		_ = w.http.Close()
	}
	w.Close()
}

// stopHTTP is how long requests may take to finish when serve stops.
const stopHTTP = 1500 * time.Millisecond
