// Package storetest holds what every engine of history is tested with: records
// that look like a host's, and the suite that says what an engine must do.
package storetest
