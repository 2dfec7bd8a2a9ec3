package main

import (
	"go.yaml.in/yaml/v3"
)

// tapSection is the section of the configuration that names interfaces without
// sockets.
func tapSection() serveSection {
	return serveSection{
		name: "tap",
		doc: `# SPAN ports and taps: interfaces on which packets of other hosts arrive. Their
# connections carry the interface as observer, beside the host's own.
tap:
# - interface: span0
#   local_net: [192.0.2.0/24, 2001:db8::/32]  # whose end is local; empty is who began
`,
		check: func(path string, node *yaml.Node) error {
			_, err := tapsOf(path, node)
			return err
		},
	}
}

// tapsOf reads the section; what is wrong is told by file and line.
func tapsOf(path string, node *yaml.Node) ([]tapConfig, error) {
	items, wrong, err := configList(path, "tap", "interfaces", node)
	if err != nil {
		return nil, err
	}
	var taps []tapConfig
	for _, item := range items {
		var t tapConfig
		switch item.Kind {
		case yaml.ScalarNode:
			t.iface = item.Value
		case yaml.MappingNode:
			for i := 0; i+1 < len(item.Content); i += 2 {
				key, value := item.Content[i], item.Content[i+1]
				switch {
				case key.Value == "interface" && value.Kind == yaml.ScalarNode:
					t.iface = value.Value
				case key.Value == "local_net" && value.Kind == yaml.ScalarNode:
					t.localNets = []string{value.Value}
				case key.Value == "local_net" && value.Kind == yaml.SequenceNode:
					for _, n := range value.Content {
						t.localNets = append(t.localNets, n.Value)
					}
				case key.Value == "interface" || key.Value == "local_net":
					return nil, wrong(value, "%s wants a plain value", key.Value)
				default:
					return nil, wrong(key, "unknown key %q: a tap has interface and local_net", key.Value)
				}
			}
		default:
			return nil, wrong(item, "each entry wants the keys interface and local_net")
		}
		taps = append(taps, t)
		if err := checkTaps(taps); err != nil {
			return nil, wrong(item, "%w", err)
		}
	}
	return taps, nil
}

// taps are those of the command line, and those of a configuration.
func (f *serveFlags) tapsWith(c *serveConfig) ([]tapConfig, error) {
	taps, err := tapsOf(c.path, c.others["tap"])
	if err != nil {
		return nil, err
	}
	if len(f.localNets) > 0 && len(f.taps) == 0 {
		return nil, usagef("--local-net says which addresses are local on a tap: name one with --tap IFACE")
	}
	for _, name := range f.taps {
		taps = append(taps, tapConfig{iface: name, localNets: f.localNets})
	}
	if err := checkTaps(taps); err != nil {
		return nil, usagef("--tap: %w", err)
	}
	return taps, nil
}
