package track

import "github.com/viewtcp/viewtcp/internal/tcp"

// processes is the table of owners: described by the collector, or, as long as
// they are not, known by what the source saw of them.
type processes struct {
	byID map[tcp.ProcessID]known
	// nameless are owners whose pid is not known here, by name.
	nameless map[tcp.Comm]*tcp.Process
}

type known struct {
	process *tcp.Process
	used    int64 // boot time
}

const (
	// processTTL is how long an unused process is remembered. Collectors
	// describe a process again well before it has passed.
	processTTL  = 300_000_000_000 // ns
	useGrain    = 1_000_000_000   // ns
	maxNameless = 4096
)

func newProcesses() processes {
	return processes{byID: make(map[tcp.ProcessID]known), nameless: make(map[tcp.Comm]*tcp.Process)}
}

func (p *processes) put(proc *tcp.Process, now int64) {
	p.byID[proc.ProcessID] = known{process: proc, used: now}
}

// get returns the process of an owner, nil if nothing is known of it.
func (p *processes) get(o tcp.Owner, now int64) *tcp.Process {
	if o.PID == 0 {
		if o.Comm == (tcp.Comm{}) {
			return nil
		}
		if proc := p.nameless[o.Comm]; proc != nil {
			return proc
		}
		if len(p.nameless) >= maxNameless {
			clear(p.nameless)
		}
		proc := &tcp.Process{Name: o.Comm.String()}
		p.nameless[o.Comm] = proc
		return proc
	}
	id := tcp.ProcessID{PID: o.PID, Start: o.Start}
	k, ok := p.byID[id]
	if !ok {
		k.process = &tcp.Process{ProcessID: id, Name: o.Comm.String()}
	}
	if !ok || now-k.used > useGrain {
		k.used = now
		p.byID[id] = k
	}
	return k.process
}

// current returns the newest description of a process, nil if it is forgotten.
func (p *processes) current(proc *tcp.Process, now int64) *tcp.Process {
	k, ok := p.byID[proc.ProcessID]
	if !ok {
		return nil
	}
	if now-k.used > useGrain {
		k.used = now
		p.byID[proc.ProcessID] = k
	}
	return k.process
}

// expire forgets processes not used for long.
func (p *processes) expire(now int64) {
	for id, k := range p.byID {
		if now-k.used > processTTL {
			delete(p.byID, id)
		}
	}
}
