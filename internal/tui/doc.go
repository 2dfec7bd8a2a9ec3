// Package tui is the live view of connections in a terminal. What it shows
// follows from a snapshot, the size, the theme and the user's keys alone: time
// comes with the data, and all that touches the host (closing sockets, files,
// captures, names) is handed over by its user as functions.
//
// It owns the terminal while it runs. Every text reaches the screen through the
// canvas, which lets nothing pass that a terminal would act on.
package tui
