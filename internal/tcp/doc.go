// Package tcp is the model: what a TCP connection is to ViewTCP, what one
// source saw of it, what happened to it, and the registry of fields from which
// filters, columns, JSON and CSV keys and the documentation come.
//
// It owns names, units and contracts. It collects nothing, stores nothing and
// imports the standard library only, so that every other package may import it.
package tcp
