package tui

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// action is something that a key does. Its text form is the name in the
// configuration.
type action string

// scope is where an action is there.
type scope uint8

const (
	inAll    scope = iota
	inTable        // connections
	inGroups       // groupings
	inDetail       // one connection
	inChart        // the overview
	numScopes
)

var scopeTitles = [numScopes]string{"Everywhere", "Connections", "Groups", "One connection", "Overview"}

// binding is an action with its usual keys.
type binding struct {
	action action
	scope  scope
	keys   []string
	doc    string
}

// The actions.
const (
	actQuit          action = "quit"
	actHelp          action = "help"
	actNextView      action = "next_view"
	actPrevView      action = "previous_view"
	actConns         action = "view_connections"
	actGroupsView    action = "view_groups"
	actOverview      action = "view_overview"
	actFilter        action = "filter"
	actInverse       action = "inverse"
	actSavedFilters  action = "saved_filters"
	actBack          action = "back"
	actFreeze        action = "freeze"
	actTheme         action = "theme"
	actNames         action = "names"
	actFaster        action = "faster"
	actSlower        action = "slower"
	actRedraw        action = "redraw"
	actSuspend       action = "suspend"
	actUp            action = "up"
	actDown          action = "down"
	actPageUp        action = "page_up"
	actPageDown      action = "page_down"
	actTop           action = "top"
	actBottom        action = "bottom"
	actLeft          action = "left"
	actRight         action = "right"
	actOpen          action = "open"
	actSortNext      action = "sort_next"
	actSortReverse   action = "sort_reverse"
	actColumns       action = "columns"
	actKeepClosed    action = "keep_closed"
	actGroup         action = "group"
	actClose         action = "close"
	actCopy          action = "copy"
	actExport        action = "export"
	actCapture       action = "capture"
	actExpand        action = "expand"
	actNextGrouping  action = "next_grouping"
	actPrevGrouping  action = "previous_grouping"
	actGroupSort     action = "group_sort_next"
	actGroupReverse  action = "group_sort_reverse"
	actSortPrefix           = "sort_column_"
	numSortColumns          = 9
	actDetailCopy    action = "copy_details"
	actDetailClose   action = "close_this"
	actDetailCapture action = "capture_this"
)

// bindings are all actions, in the order of the help.
var bindings = append([]binding{
	{actHelp, inAll, []string{"?", "f1"}, "show the keys"},
	{actQuit, inAll, []string{"q", "ctrl+c"}, "quit"},
	{actNextView, inAll, []string{"tab"}, "go to the next view"},
	{actPrevView, inAll, []string{"shift+tab"}, "go to the previous view"},
	{actConns, inAll, []string{"alt+1"}, "view: connections"},
	{actGroupsView, inAll, []string{"alt+2"}, "view: groups"},
	{actOverview, inAll, []string{"alt+3", "o"}, "view: overview"},
	{actFilter, inAll, []string{"/"}, "filter: Tab completes, Up recalls, Ctrl-S saves"},
	{actInverse, inAll, []string{"!"}, "show what does not match instead"},
	{actSavedFilters, inAll, []string{"f"}, "choose a usual or a saved filter"},
	{actBack, inAll, []string{"esc", "backspace"}, "go back, or clear the filter"},
	{actFreeze, inAll, []string{"p"}, "freeze the rows; counting goes on"},
	{actNames, inAll, []string{"d"}, "names of remote addresses (asks DNS), or not"},
	{actTheme, inAll, []string{"T"}, "next theme: dark, light, contrast, mono"},
	{actFaster, inAll, []string{"+", "="}, "refresh more often"},
	{actSlower, inAll, []string{"-"}, "refresh less often"},
	{actRedraw, inAll, []string{"ctrl+l"}, "draw the screen again"},
	{actSuspend, inAll, []string{"ctrl+z"}, "suspend to the shell"},
	{actUp, inAll, []string{"up", "k"}, "one line up"},
	{actDown, inAll, []string{"down", "j"}, "one line down"},
	{actPageUp, inAll, []string{"pgup", "ctrl+b"}, "one page up"},
	{actPageDown, inAll, []string{"pgdown", "ctrl+f"}, "one page down"},
	{actTop, inAll, []string{"home", "g"}, "to the first line, and stay there"},
	{actBottom, inAll, []string{"end", "G"}, "to the last line"},
	{actLeft, inAll, []string{"left", "h"}, "columns to the left"},
	{actRight, inAll, []string{"right", "l"}, "columns to the right"},
	{actExport, inAll, []string{"e"}, "write the rows to a .csv, .json or .jsonl file"},

	{actOpen, inTable, []string{"enter"}, "all about the connection"},
	{actSortNext, inTable, []string{"s"}, "sort by the next column"},
	{actSortReverse, inTable, []string{"S"}, "sort the other way round"},
	{actColumns, inTable, []string{"c"}, "choose columns"},
	{actKeepClosed, inTable, []string{"t"}, "keep closed connections, or drop them soon"},
	{actGroup, inTable, []string{"a"}, "group the connections"},
	{actClose, inTable, []string{"K"}, "close the socket, after asking"},
	{actCopy, inTable, []string{"y"}, "copy the connection to the clipboard"},
	{actCapture, inTable, []string{"w"}, "show and capture its packets"},

	{actOpen, inGroups, []string{"enter"}, "show its connections, or the connection"},
	{actExpand, inGroups, []string{"space"}, "unfold or fold the group"},
	{actNextGrouping, inGroups, []string{"a"}, "next grouping"},
	{actPrevGrouping, inGroups, []string{"A"}, "previous grouping"},
	{actGroupSort, inGroups, []string{"s"}, "sort by the next column"},
	{actGroupReverse, inGroups, []string{"S"}, "sort the other way round"},

	{actDetailCapture, inDetail, []string{"w"}, "show its packets and write them to a file, or stop"},
	{actDetailClose, inDetail, []string{"K"}, "close the socket, after asking"},
	{actDetailCopy, inDetail, []string{"y"}, "copy all to the clipboard"},
}, sortBindings()...)

func sortBindings() (bs []binding) {
	for i := 1; i <= numSortColumns; i++ {
		n := fmt.Sprint(i)
		bs = append(bs, binding{action(actSortPrefix + n), inTable, []string{n}, "sort by column " + n + "; again turns it round"})
	}
	for i, a := range []action{actConns, actGroupsView, actOverview} {
		for _, s := range []scope{inDetail, inChart, inGroups} {
			bs = append(bs, binding{a, s, []string{fmt.Sprint(i + 1)}, ""})
		}
	}
	return bs
}

// keyMap finds actions by keys.
type keyMap struct {
	byKey [numScopes]map[string]action
	keys  map[action][]string
}

// newKeyMap gives actions other keys than the usual ones. The keys of a
// configuration replace all usual ones of its action.
func newKeyMap(changes map[string][]string) (*keyMap, error) {
	m := &keyMap{keys: make(map[action][]string)}
	for i := range m.byKey {
		m.byKey[i] = make(map[string]action)
	}
	for name := range changes {
		if !slices.ContainsFunc(bindings, func(b binding) bool { return string(b.action) == name }) {
			return nil, fmt.Errorf("keys: there is no action %q; they are %s", name, strings.Join(ActionNames(), ", "))
		}
	}
	for _, b := range bindings {
		keys := b.keys
		if own, ok := changes[string(b.action)]; ok {
			if b.doc == "" {
				continue // a second key of an action, in one scope
			}
			keys = own
		}
		for _, k := range keys {
			if k = normalKey(k); k == "" {
				return nil, fmt.Errorf("keys: %s has an empty key", b.action)
			}
			at := m.byKey[b.scope]
			if other, ok := at[k]; ok && other != b.action {
				return nil, fmt.Errorf("keys: %q stands for %s and %s", k, other, b.action)
			}
			at[k] = b.action
			if b.doc != "" && !slices.Contains(m.keys[b.action], k) {
				m.keys[b.action] = append(m.keys[b.action], k)
			}
		}
	}
	for k, a := range m.byKey[inAll] {
		for s := inTable; s < numScopes; s++ {
			if other, ok := m.byKey[s][k]; ok && other != a {
				return nil, fmt.Errorf("keys: %q stands for %s and %s", k, a, other)
			}
		}
	}
	return m, nil
}

// CheckKeys reports what is wrong with bindings of a configuration.
func CheckKeys(changes map[string][]string) error {
	_, err := newKeyMap(changes)
	return err
}

// ActionNames lists the actions that keys can be bound to.
func ActionNames() []string {
	var names []string
	for _, b := range bindings {
		if !slices.Contains(names, string(b.action)) {
			names = append(names, string(b.action))
		}
	}
	return names
}

// normalKey spells a key as the terminal library does.
func normalKey(k string) string {
	switch strings.ToLower(k) {
	case " ":
		return "space"
	case "escape":
		return "esc"
	case "return":
		return "enter"
	case "pgdn", "pagedown":
		return "pgdown"
	case "pageup":
		return "pgup"
	}
	if utf8.RuneCountInString(k) > 1 {
		return strings.ToLower(k)
	}
	return k // a letter alone is another one with Shift
}

// find returns the action of a key in a scope; empty if there is none.
func (m *keyMap) find(s scope, key string) action {
	if a, ok := m.byKey[s][key]; ok {
		return a
	}
	return m.byKey[inAll][key]
}

// label is the first key of an action, for hints.
func (m *keyMap) label(a action) string {
	if ks := m.keys[a]; len(ks) > 0 {
		return keyLabel(ks[0])
	}
	return ""
}

// labels are all keys of an action.
func (m *keyMap) labels(a action) string {
	var b []string
	for _, k := range m.keys[a] {
		b = append(b, keyLabel(k))
	}
	return strings.Join(b, ", ")
}

var keyLabels = map[string]string{
	"up": "Up", "down": "Down", "left": "Left", "right": "Right", "pgup": "PgUp", "pgdown": "PgDn",
	"home": "Home", "end": "End", "enter": "Enter", "esc": "Esc", "tab": "Tab", "space": "Space",
	"backspace": "Backspace", "delete": "Delete", "insert": "Insert",
}

// keyLabel is how people write a key.
func keyLabel(k string) string {
	var mods []string
	for {
		i := strings.IndexByte(k, '+')
		if i <= 0 || i == len(k)-1 {
			break
		}
		mods = append(mods, strings.ToUpper(k[:1])+k[1:i])
		k = k[i+1:]
	}
	switch {
	case keyLabels[k] != "":
		k = keyLabels[k]
	case len(k) > 1 && k[0] == 'f':
		k = strings.ToUpper(k)
	case len(mods) > 0:
		k = strings.ToUpper(k)
	}
	return strings.Join(append(mods, k), "-")
}

// HelpKey is a line of the key table.
type HelpKey struct{ Scope, Keys, Action, Doc string }

// HelpKeys is the table of all keys, as the help shows it.
func HelpKeys(changes map[string][]string) ([]HelpKey, error) {
	m, err := newKeyMap(changes)
	if err != nil {
		return nil, err
	}
	return m.help(), nil
}

func (m *keyMap) help() []HelpKey {
	var hs []HelpKey
	for s := range numScopes {
		for _, b := range bindings {
			if b.scope != s || b.doc == "" {
				continue
			}
			h := HelpKey{scopeTitles[s], m.labels(b.action), string(b.action), b.doc}
			if strings.HasPrefix(h.Action, actSortPrefix) {
				if h.Action != actSortPrefix+"1" {
					continue
				}
				h.Keys += "…" + m.label(action(actSortPrefix+fmt.Sprint(numSortColumns)))
				h.Action = actSortPrefix + "1…9"
				h.Doc = "sort by that column; again turns it round"
			}
			hs = append(hs, h)
		}
	}
	return hs
}
