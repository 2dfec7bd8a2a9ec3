package enrich

import (
	"slices"
	"strings"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Service names what a connection belongs to. Where this host serves
// (listeners, inbound connections), that is the systemd unit of the process,
// else its container, else its name. Where it asks (outbound), it is the
// well-known name of the remote port. It is empty when neither is known.
func (e *Enricher) Service(c *tcp.Conn) string {
	switch c.Direction {
	case tcp.Listening, tcp.Inbound:
		return processService(c.Process)
	case tcp.Outbound:
		return e.services.Name(c.RemotePort)
	default:
		return ""
	}
}

func processService(p *tcp.Process) string {
	switch {
	case p == nil:
		return ""
	case namesService(p.Unit, p.Container):
		return p.Unit
	case p.Container != "":
		return p.Container
	default:
		return p.Name
	}
}

// runtimes are units below which containers run that are not theirs.
var runtimes = []string{"containerd.service", "docker.service", "crio.service", "kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service"}

// namesService reports whether a unit is a service. Scopes are not: they group
// what somebody else started, as a login session (session-3.scope) or a container
// (docker-ID.scope), and say less than the container or the process. Nor are the
// managers that everything of a user or of a container runtime runs below.
func namesService(unit, container string) bool {
	if !strings.HasSuffix(unit, ".service") || strings.HasPrefix(unit, "user@") {
		return false
	}
	if container == "" {
		return true
	}
	return !slices.Contains(runtimes, unit) && !strings.HasPrefix(unit, "systemd-nspawn@")
}
