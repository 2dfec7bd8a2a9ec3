// Command bench measures what ViewTCP costs, each figure beside its peer or its
// limit in the same run, and writes docs/benchmarks.md.
//
// Machines are shared and noisy: what counts is processor time, medians of
// alternating repetitions, and ratios. All load is made here, on loopback and in
// namespaces of child processes, and ends with the program.
package main
