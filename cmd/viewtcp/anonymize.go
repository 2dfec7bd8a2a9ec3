package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/pflag"

	"github.com/viewtcp/viewtcp/internal/capture"
)

// A disguise says what of packets a file shall not show.
type disguise struct {
	anonymize   bool
	key         string // the file of the key
	headersOnly bool
}

// addDisguise adds the flags; what the first and the last do depends on the file.
func (d *disguise) addDisguise(fs *pflag.FlagSet, anonymize, headersOnly string) {
	fs.BoolVar(&d.anonymize, "anonymize", false, anonymize)
	fs.StringVar(&d.key, "anonymize-key", "", "with --anonymize: file with the 32 bytes of the key, made if it is not there, so that several files agree")
	fs.BoolVar(&d.headersOnly, "headers-only", false, headersOnly)
}

func (d *disguise) checkKey() error {
	if d.key != "" && !d.anonymize {
		return usagef("--anonymize-key is for --anonymize")
	}
	return nil
}

// anonymizer is what replaces addresses, nil when they stay. It makes the key if
// need be.
func (d *disguise) anonymizer() (*capture.Anonymizer, error) {
	if !d.anonymize {
		return nil, nil //nolint:nilnil // addresses stay
	}
	key, err := anonymizeKey(d.key)
	if err != nil {
		return nil, err
	}
	return capture.NewAnonymizer(capture.AnonymizeOptions{Key: key})
}

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
