// Package text makes texts for people: values of fields with their units, and the
// one sanitizer of all that a stranger may have chosen (a process name, a host
// name). It lays nothing out; the command line and the terminal interface do.
package text
