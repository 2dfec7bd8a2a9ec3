// Package wire is the language between the roles of ViewTCP: a collector with
// rights and the consumers without them. Its frames are versioned, bounded and
// checked like any hostile input; docs/wire.md describes them byte by byte.
//
// In one process no bytes are needed: a batch is handed over as it is. Between
// processes Client is a tcp.Source like any other, so that splitting the roles
// is configuration.
package wire
