package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/viewtcp/viewtcp/internal/tui"
)

// layoutStore keeps what a user arranged in the terminal interface.
type layoutStore struct{ path string }

// newLayoutStore finds the file. Without a home nothing is kept.
func newLayoutStore() layoutStore {
	dir, err := os.UserConfigDir()
	if err != nil {
		return layoutStore{}
	}
	return layoutStore{filepath.Join(dir, "viewtcp", "top.json")}
}

// load reads the file; one that cannot be read is as good as none.
func (s layoutStore) load() (l tui.Layout) {
	b, err := os.ReadFile(s.path)
	if s.path == "" || err != nil || json.Unmarshal(b, &l) != nil {
		return tui.Layout{}
	}
	return l
}

func (s layoutStore) save(l tui.Layout) error {
	if s.path == "" {
		return nil
	}
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return err
	}
	return replaceFile(s.path, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// configuredKeys reads the section "keys" of the configuration file: the name of
// an action, and its key or a list of them. Whether the file is there and is well
// formed was seen when the flags were read from it.
func configuredKeys(path string) (map[string][]string, error) {
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, nil //nolint:nilerr // no home, no configuration
		}
		path = filepath.Join(dir, "viewtcp", "config.yaml")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil //nolint:nilerr // told already, if it matters
	}
	var doc struct {
		Keys map[string]yaml.Node `yaml:"keys"`
	}
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	keys := make(map[string][]string)
	for name, node := range doc.Keys {
		var list []string
		var one string
		err := node.Decode(&list)
		if err != nil {
			if err = node.Decode(&one); err == nil {
				list = []string{one}
			}
		}
		if err != nil || len(list) == 0 {
			return nil, usagef("%s:%d: keys: %s wants a key or a list of keys", path, node.Line, strings.TrimSpace(name))
		}
		keys[name] = list
	}
	return keys, nil
}
