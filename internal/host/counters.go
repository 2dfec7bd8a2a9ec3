package host

import (
	"bytes"
	"errors"
	"strconv"
)

// errCounters says that names and values of counters do not stand in pairs.
var errCounters = errors.New("counters: a line of names has no line of values")

// EachCounter calls fn for each count in the text of /proc/net/snmp or
// /proc/net/netstat: pairs of lines, names and then values, each behind the name
// of their group (net/ipv4/proc.c). Values that are no count are left out; an
// error says where the pairs end, and what was told before holds. The slices
// are valid during the call.
func EachCounter(text []byte, fn func(group, name []byte, value uint64)) error {
	for len(text) > 0 {
		var names, values []byte
		names, text, _ = bytes.Cut(text, []byte{'\n'})
		values, text, _ = bytes.Cut(text, []byte{'\n'})
		group, names, ok := bytes.Cut(names, []byte{':'})
		if !ok {
			return errCounters
		}
		again, values, ok := bytes.Cut(values, []byte{':'})
		if !ok || !bytes.Equal(group, again) {
			return errCounters
		}
		all := bytes.Fields(values)
		for i, name := range bytes.Fields(names) {
			if i == len(all) {
				break
			}
			if n, err := strconv.ParseUint(string(all[i]), 10, 64); err == nil {
				fn(group, name, n)
			}
		}
	}
	return nil
}
