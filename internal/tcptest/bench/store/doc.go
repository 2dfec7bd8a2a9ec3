// Command store measures what history costs: ingest of records as a host makes
// them, synced, sealed, read back and rolled up (S1 of the targets).
//
// Machines are shared and noisy: what counts is processor time. Making the
// records is measured apart and not counted.
package main
