// Command store measures what history costs: ingest of records as a host makes
// them, synced, sealed, read back and rolled up (S1 of the targets), and queries of
// them (S2 to S5), whose answers are compared with those of another way to find
// them.
//
// Machines are shared and noisy: what counts is processor time. Making the
// records is measured apart and not counted.
package main
