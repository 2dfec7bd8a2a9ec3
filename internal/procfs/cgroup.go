package procfs

import (
	"strconv"
	"strings"
)

// placement is where a process runs, as its cgroup tells.
type placement struct {
	// path is the cgroup that tells: of the unified hierarchy, unless only one
	// of the old hierarchies says more than "/".
	path string
	// container is an id cut to 12 digits, or a name.
	container string
	// unit is the systemd unit, the user's own where there is one.
	unit string
}

// parseCgroup reads /proc/PID/cgroup (cgroups(7)): lines of
// "hierarchy:controllers:path". On a hybrid system the unified hierarchy is
// there but may be empty, with containers and units in the old ones.
func parseCgroup(text string) placement {
	var best placement
	rank := -1
	for line := range strings.Lines(text) {
		id, rest, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !ok {
			continue
		}
		controllers, path, ok := strings.Cut(rest, ":")
		if !ok || !strings.HasPrefix(path, "/") {
			continue
		}
		// The kernel marks a cgroup that was removed under its last process.
		path = strings.TrimSuffix(path, " (deleted)")
		p := placement{path: path, container: containerOf(path), unit: unitOf(path)}
		r := 0
		switch {
		case id == "0" && controllers == "":
			r = 2
		case controllers == "name=systemd":
			r = 1
		}
		if p.container != "" {
			r += 6
		} else if p.unit != "" {
			r += 3
		} else if r < 2 {
			continue // an old hierarchy that says nothing
		}
		// The unit and the container may stand in different hierarchies.
		if p.unit == "" {
			p.unit = best.unit
		}
		if r > rank {
			best, rank = p, r
		} else if best.unit == "" {
			best.unit = p.unit
		}
	}
	return best
}

// unitSuffixes are the types of units that have processes (systemd.unit(5)).
var unitSuffixes = []string{".service", ".scope", ".socket", ".mount", ".swap"}

// unitOf finds the systemd unit of a cgroup path: below any slices stands the
// unit. Below the unit of a user's manager (user@1000.service) stand slices and
// units of that user.
func unitOf(path string) string {
	unit, rest := nextUnit(path)
	if !strings.HasPrefix(unit, "user@") || !strings.HasSuffix(unit, ".service") {
		return unit
	}
	if user, _ := nextUnit(rest); user != "" {
		return user
	}
	return unit
}

// nextUnit skips slices and returns the unit after them with the rest of the
// path; the unit is empty when something else stands there.
func nextUnit(path string) (unit, rest string) {
	rest = path
	for {
		rest = strings.TrimLeft(rest, "/")
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "":
			return "", ""
		case "..": // outside our cgroup namespace
			continue
		}
		name = unescapeCgroup(name)
		if strings.HasSuffix(name, ".slice") {
			continue
		}
		for _, suffix := range unitSuffixes {
			if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
				return name, rest
			}
		}
		return "", ""
	}
}

// unescapeCgroup undoes systemd's protection of names that would clash with
// files of the kernel: an underscore in front.
func unescapeCgroup(name string) string {
	return strings.TrimPrefix(name, "_")
}

// shortID is the length to which container ids are cut, as the usual tools do.
const shortID = 12

// containerOf finds the innermost container of a cgroup path.
func containerOf(path string) string {
	for path != "" {
		i := strings.LastIndexByte(path, '/')
		parent, name := path[:max(i, 0)], path[i+1:]
		if c := containerName(parent, name); c != "" {
			return c
		}
		path = parent
	}
	return ""
}

// containerName tells whether one element of a cgroup path stands for a
// container, and how that is called. parent is the path above it.
func containerName(parent, name string) string {
	name = unescapeCgroup(name)
	if rest, ok := strings.CutPrefix(name, "lxc.payload."); ok {
		return rest
	}
	if strings.HasSuffix(parent, "/lxc") || strings.HasSuffix(parent, "/lxc.payload") {
		return name
	}
	if rest, ok := strings.CutPrefix(name, "systemd-nspawn@"); ok {
		if rest, ok := strings.CutSuffix(rest, ".service"); ok {
			return unescapeUnit(rest)
		}
	}
	if rest, ok := strings.CutPrefix(name, "machine-"); ok {
		if rest, ok := strings.CutSuffix(rest, ".scope"); ok {
			return unescapeUnit(rest)
		}
	}
	// The process that watches over a container is not in it.
	if strings.Contains(name, "conmon") {
		return ""
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".scope"), ".service")
	// docker-ID, cri-containerd-ID, crio-ID, libpod-ID, kubepods-…:cri-containerd:ID.
	if i := strings.LastIndexAny(name, "-:"); i >= 0 {
		if isHex(name[i+1:], 64) {
			return name[i+1:][:shortID]
		}
		// An ECS task on Fargate: 32 digits, a dash and a decimal number.
		if strings.Contains(parent, "/ecs/") && isHex(name[:i], 32) && isDecimal(name[i+1:]) {
			return name[:shortID]
		}
	}
	if isHex(name, 64) {
		return name[:shortID]
	}
	return ""
}

func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// unescapeUnit undoes the \xNN escapes of systemd-escape(1), in which a dash
// within a name is written.
func unescapeUnit(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if v, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
