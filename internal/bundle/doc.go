// Package bundle is the incident file: one zip with the connections, samples,
// events, usage and packets of a stretch of time, which any ViewTCP opens and
// any other program reads.
//
// It owns the layout (docs/bundle.md), the rows as JSON lines, what is masked in
// an anonymised file, and everything that can be wrong with a file that a
// stranger made. It gathers nothing and opens no store: that is for whoever
// writes or reads one.
package bundle
