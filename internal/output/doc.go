// Package output writes connections and events for people and programs: tables
// that fit the terminal, JSON and CSV. All of it comes from the registry of
// fields, and every text that a stranger may have chosen (a process name, a host
// name) is made harmless here, whatever the format.
package output
