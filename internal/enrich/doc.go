// Package enrich gives connections the names that people know them by: the
// service they belong to, the name of the other end, the host.
//
// It owns where such names come from and how long they are believed. It never
// makes its callers wait: what takes time to find out comes with a later call.
package enrich
