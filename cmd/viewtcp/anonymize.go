package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// anonymizeKeySize is what the addresses of a capture are replaced by: bytes.
const anonymizeKeySize = 32

// anonymizeKey reads the key of a file, and makes the file when it is not there.
// Without a path each run has a key of its own (nil).
func anonymizeKey(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key = make([]byte, anonymizeKeySize)
		if _, err := rand.Read(key); err != nil {
			return nil, fmt.Errorf("making a key: %w", err)
		}
		return key, os.WriteFile(path, key, 0o600)
	case err != nil:
		return nil, fmt.Errorf("reading the key: %w", err)
	case len(key) != anonymizeKeySize:
		return nil, usagef("--anonymize-key %s: a key has %d bytes, this file has %d", path, anonymizeKeySize, len(key))
	}
	return key, nil
}
