// Package netns lists the network namespaces of a Linux host and enters them.
// It keeps no namespace open: every descriptor lives during one call.
package netns

import "strconv"

// Namespace is a network namespace and a path to enter it by.
type Namespace struct {
	// Inode is the number in /proc/PID/ns/net.
	Inode uint32
	// Path is a file that stands for the namespace: a bind mount, or
	// /proc/PID/ns/net of one process in it.
	Path string
	// Self says that this process is in it.
	Self bool
}

func (n Namespace) String() string { return "net:[" + strconv.FormatUint(uint64(n.Inode), 10) + "]" }
