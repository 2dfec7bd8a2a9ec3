// Package report writes what an analysis found as one self-contained page of
// HTML: a summary, every connection in a table, and plots of the interesting
// ones. It owns the page (its script and style are embedded) and what is kept
// of a capture for it, in bounded memory. It decides nothing about TCP: flags,
// verdicts and round-trip times come with each packet, and everything else
// through the registry of fields.
//
// The page loads nothing, and its Content-Security-Policy lets nothing but its
// own script run. Names that strangers chose (SNI, HTTP hosts, file names)
// reach it as JSON strings whose control, bidirectional and invisible characters
// are already visible escapes, and the script shows them as text nodes only.
package report
