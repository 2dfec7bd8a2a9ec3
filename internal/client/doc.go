// Package client asks a daemon over HTTP: what it sees now, what it kept, and what
// happens. The command line uses it, so that many viewers cost one collection.
//
// It is the other end of internal/web, and shares with it the shapes of
// internal/api. A Client is a store.Querier, and makes a tcp.View, so that whoever
// works on those does not care where they come from.
package client
