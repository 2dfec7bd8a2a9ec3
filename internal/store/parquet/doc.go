// Package parquet is the embedded engine of history: a write-ahead log that is
// synced before a batch is acknowledged, and Parquet segments by day that the log
// is sealed into. Any program that reads Parquet reads them.
//
// It owns the data directory, whose files are described in docs/format.md, and
// the library that writes Parquet. Whatever goes wrong on disk is an error, a
// state or a report of damage; never a crash, and never silent.
package parquet
