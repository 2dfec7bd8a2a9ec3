// Package api is what the daemon and those who ask it say to each other over
// HTTP: the shapes of answers, the parameters of questions, rows of connections
// as JSON and back, and the server-sent events of streams.
//
// It owns both directions, so that what one side writes the other side reads. It
// opens no connection: the server is internal/web, the client internal/client,
// and docs/openapi.yaml describes it to everybody else.
package api
