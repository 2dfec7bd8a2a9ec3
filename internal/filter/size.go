package filter

import "errors"

// ParseSize reads a size in bytes as filters write it: 4096, 64KiB, 1.5MB.
func ParseSize(s string) (uint64, error) {
	v, msg := parseBytes(s, false)
	if msg != "" {
		return 0, errors.New(msg)
	}
	return v, nil
}
