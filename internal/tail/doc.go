// Package tail follows log files and turns the lines that match a pattern into
// marks: what a program said of a deploy, a restart or an error stands on the
// timeline beside its connections.
//
// It owns following: rotation, truncation, lines that are not finished, too long
// or no text. Files are read, never written; lines are nobody's trusted input.
package tail
