// Package host knows the machine that ViewTCP runs on: its name, boot, clocks
// and the rights of this process. It knows nothing of sockets.
package host
