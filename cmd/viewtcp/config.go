package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/viewtcp/viewtcp/internal/filter"
)

// configKeys are the keys of a configuration file: defaults for the flags of the
// same names.
var configKeys = []string{
	"output", "columns", "no-header", "numeric", "resolve", "sort", "reverse", "limit",
	"source", "netns", "color", "collector", "theme", "ascii", keysSection,
}

// keysSection is the part of the file that is no flag: the keys of top.
const keysSection = "keys"

// applyConfig sets the flags that the command line did not from a file. Without
// a path, a file that is not there is no error, nor is one of somebody else:
// after su or sudo the home directory may still be the former user's.
func applyConfig(flags *pflag.FlagSet, path string) error {
	optional := path == ""
	if optional {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil //nolint:nilerr // no home, no configuration
		}
		path = filepath.Join(dir, "viewtcp", "config.yaml")
	}
	raw, err := os.ReadFile(path)
	switch {
	case optional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
		return nil
	case err != nil:
		return fmt.Errorf("reading the configuration: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return usagef("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	if doc.Content[0].Kind != yaml.MappingNode {
		return usagef("%s:%d: a mapping of flag names to values is expected", path, doc.Content[0].Line)
	}
	pairs := doc.Content[0].Content
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := applyKey(flags, path, pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func applyKey(flags *pflag.FlagSet, path string, key, value *yaml.Node) error {
	known := false
	for _, k := range configKeys {
		known = known || k == key.Value
	}
	if !known {
		hint := ""
		if s := filter.Nearest(key.Value, configKeys); s != "" {
			hint = fmt.Sprintf(": did you mean %q?", s)
		}
		return usagef("%s:%d: unknown key %q%s", path, key.Line, key.Value, hint)
	}
	if key.Value == keysSection {
		return nil // configuredKeys reads it
	}
	if value.Kind != yaml.ScalarNode {
		return usagef("%s:%d: %s wants one value", path, value.Line, key.Value)
	}
	// A key may be for other commands than this one.
	f := flags.Lookup(key.Value)
	if f == nil || f.Changed {
		return nil
	}
	if err := f.Value.Set(value.Value); err != nil {
		return usagef("%s:%d: %s: %w", path, value.Line, key.Value, err)
	}
	return nil
}
