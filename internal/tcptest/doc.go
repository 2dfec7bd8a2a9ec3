// Package tcptest makes what tests and benchmarks need to hold ViewTCP against
// a real kernel: network namespaces, child processes that open connections and
// keep a ledger of them, sockets in every state, an independent oracle (ss of
// iproute2), and the conformance suite that every tcp.Source passes.
//
// All of it stays on loopback or inside namespaces made for the test, is bounded
// in number and time, and is taken away at the end. The package is for tests
// and for the benchmark program below it; the product never imports it.
package tcptest
