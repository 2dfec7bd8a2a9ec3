package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/viewtcp/viewtcp/internal/filter"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
)

// serveConfig is how serve works: its defaults, what the configuration file says
// instead, and what the command line says instead of that.
type serveConfig struct {
	listen, data string
	tls          tlsConfig
	hosts        []string
	collect      collectConfig
	names        namesConfig
	store        storeConfig
	packets      packetsConfig
	log          logConfig
	// others are the sections that are decoded by those who own them, by name.
	others map[string]*yaml.Node
	// path is the file, "" for none.
	path string
}

// collectConfig is what is looked at, and with what.
type collectConfig struct {
	source, netns, collector string
	// interval is the time between two looks at all connections; 0 is that of
	// the source.
	interval time.Duration
}

// namesConfig is which names connections get.
type namesConfig struct {
	services bool
}

// storeConfig is how much history is kept.
type storeConfig struct {
	enabled   bool
	sealAge   time.Duration
	retention map[store.Table]parquet.Retention
	damaged   parquet.Retention
}

// packetsConfig is which packets are recorded and how many of them are kept.
type packetsConfig struct {
	enabled    bool
	interfaces []string
	netns      string
	snaplen    uint64
	maxBytes   uint64
	maxAge     time.Duration
	cutoff     string
	sample     uint64
	ring       uint64
}

// logConfig is how messages are written.
type logConfig struct {
	format string
	level  slog.Level
}

// defaultServeConfig is what serve does when nobody says otherwise. The data
// directory is the caller's.
func defaultServeConfig() serveConfig {
	c := serveConfig{listen: "127.0.0.1:9293", others: make(map[string]*yaml.Node)}
	c.collect.source, c.collect.netns = "auto", "all"
	c.names.services = true
	def := parquet.DefaultConfig()
	c.store.enabled, c.store.sealAge, c.store.retention = true, def.SealAge, def.Retention
	c.store.damaged = def.Damaged
	c.packets = packetsConfig{
		enabled: true, netns: "self", maxBytes: 1 << 30, maxAge: 24 * time.Hour, sample: 1, ring: 8 << 20,
	}
	c.log.format = "text"
	return c
}

// serveSection is a part of the file that its owner decodes. doc is its entry in
// what --print-config prints, valid YAML; check refuses what is wrong in it, by
// file and line.
type serveSection struct {
	name, doc string
	check     func(path string, node *yaml.Node) error
}

// loadServeConfig reads a file over the defaults. What is wrong in it is told by
// file and line.
func loadServeConfig(path string, sections []serveSection) (serveConfig, error) {
	c := defaultServeConfig()
	if path == "" {
		return c, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("reading the configuration: %w", err)
	}
	c.path = path
	return c, c.parse(path, raw, sections)
}

func (c *serveConfig) parse(path string, raw []byte, sections []serveSection) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		return usagef("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil
	}
	p := configParser{path: path, config: c, sections: sections}
	return p.mapping("", doc.Content[0])
}

// configParser walks a file.
type configParser struct {
	path     string
	config   *serveConfig
	sections []serveSection
}

func (p *configParser) errorf(at *yaml.Node, format string, args ...any) error {
	return usagef("%s:%d: %w", p.path, at.Line, fmt.Errorf(format, args...))
}

// mapping reads the keys below a section; "" is the top.
func (p *configParser) mapping(section string, node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return nil // a section whose keys are all commented out
	}
	if node.Kind != yaml.MappingNode {
		what := "a mapping of keys to values is expected"
		if section != "" {
			what = section + " wants keys of its own, indented below it"
		}
		return p.errorf(node, "%s", what)
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := key.Value
		if section != "" {
			name = section + "." + name
		}
		if line, twice := seen[name]; twice {
			return p.errorf(key, "%s is set already, in line %d", name, line)
		}
		seen[name] = key.Line
		if err := p.entry(section, name, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (p *configParser) entry(section, name string, key, value *yaml.Node) error {
	if value.Kind == yaml.AliasNode {
		return p.errorf(value, "%s: aliases are not supported", name)
	}
	if section == "" {
		for _, s := range p.sections {
			if s.name == name {
				p.config.others[name] = value
				return s.check(p.path, value)
			}
		}
	}
	keys := serveKeys()
	for i := range keys {
		switch {
		case keys[i].name == name:
			return p.set(&keys[i], value)
		case strings.HasPrefix(keys[i].name, name+"."):
			return p.mapping(name, value)
		}
	}
	hint := ""
	if s := filter.Nearest(name, p.names()); s != "" {
		hint = fmt.Sprintf(": did you mean %q?", s)
	} else if s := p.elsewhere(name); s != "" {
		hint = fmt.Sprintf(": did you mean %q?", s)
	}
	return p.errorf(key, "unknown key %q%s", name, hint)
}

// names are all keys and sections.
func (p *configParser) names() (all []string) {
	for _, k := range serveKeys() {
		all = append(all, k.name)
		if section, _, ok := strings.Cut(k.name, "."); ok {
			all = append(all, section)
		}
	}
	for _, s := range p.sections {
		all = append(all, s.name)
	}
	return all
}

// elsewhere finds a key that stands in the wrong section.
func (p *configParser) elsewhere(name string) string {
	last := name[strings.LastIndex(name, ".")+1:]
	for _, k := range serveKeys() {
		if strings.HasSuffix(k.name, "."+last) || k.name == last {
			return k.name
		}
	}
	return ""
}

// set gives one key its value.
func (p *configParser) set(k *serveKey, value *yaml.Node) error {
	if value.Kind == yaml.SequenceNode && k.setList != nil {
		var list []string
		for _, n := range value.Content {
			if n.Kind != yaml.ScalarNode {
				return p.errorf(n, "%s wants a list of plain values", k.name)
			}
			list = append(list, n.Value)
		}
		if err := k.setList(p.config, list); err != nil {
			return p.errorf(value, "%s: %w", k.name, err)
		}
		return nil
	}
	if value.Kind != yaml.ScalarNode {
		return p.errorf(value, "%s wants one value", k.name)
	}
	var err error
	switch {
	case value.Tag == "!!null":
		return nil // the default
	case k.setList != nil:
		err = k.setList(p.config, []string{value.Value})
	default:
		err = k.set(p.config, value.Value)
	}
	if err != nil {
		return p.errorf(value, "%s %s: %w", k.name, value.Value, err)
	}
	return nil
}

// configList returns what stands in a list of a configuration, of so called things,
// and what makes an error of an entry. A list that is not there has none.
func configList(path, key, of string, node *yaml.Node) (items []*yaml.Node, wrong func(at *yaml.Node, format string, args ...any) error, err error) {
	wrong = func(at *yaml.Node, format string, args ...any) error {
		return usagef("%s:%d: %s: %w", path, at.Line, key, fmt.Errorf(format, args...))
	}
	switch {
	case node == nil || node.Tag == "!!null":
		return nil, wrong, nil
	case node.Kind != yaml.SequenceNode:
		return nil, nil, wrong(node, "it wants a list of %s, each beginning with a dash", of)
	default:
		return node.Content, wrong, nil
	}
}
