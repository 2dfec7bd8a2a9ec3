package main

import (
	"io"
	"net/http"
)

// webAnswers are what requests get.
type webAnswers interface {
	Close()
	Launch() string
}

type plainAnswers struct{}

func (plainAnswers) Close()         {}
func (plainAnswers) Launch() string { return "/" }

func newWebServer(d *daemon) (*webServer, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { _ = d.metrics(w) })
	return &webServer{plainAnswers{}, &http.Server{Handler: mux}}, nil
}
