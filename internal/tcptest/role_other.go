//go:build !linux

package tcptest

// Only Linux has the namespaces and counters that the roles of this package
// work with.
func builtinRoles() []Role { return nil }

func setUp(string) error { return nil }
