package usage

import (
	"os"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// tcpCounters are the measures that /proc/net/snmp and netstat have.
var tcpCounters = map[string]store.Measure{
	"Tcp.RetransSegs": store.RetransSegs, "Tcp.InSegs": store.InSegs, "Tcp.OutSegs": store.OutSegs,
	"Tcp.InErrs": store.InErrs, "Tcp.OutRsts": store.OutRsts, "Tcp.AttemptFails": store.AttemptFails,
	"Tcp.EstabResets": store.EstabResets, "Tcp.ActiveOpens": store.ActiveOpens, "Tcp.PassiveOpens": store.PassiveOpens,
	"TcpExt.ListenOverflows": store.ListenOverflows, "TcpExt.ListenDrops": store.ListenDrops,
	"TcpExt.TCPTimeouts": store.TCPTimeouts, "TcpExt.SyncookiesSent": store.SyncookiesSent,
	"TcpExt.SyncookiesFailed": store.SyncookiesFailed, "TcpExt.TCPReqQFullDrop": store.ReqQFullDrop,
	"TcpExt.TCPAbortOnMemory": store.AbortOnMemory, "TcpExt.TCPAbortOnTimeout": store.AbortOnTimeout,
	"TcpExt.TCPMemoryPressures": store.MemoryPressures, "TcpExt.TCPBacklogDrop": store.BacklogDrop,
	"TcpExt.TCPRcvQDrop": store.RcvQDrop,
}

// sampleHost fills the row of the host. Each file that cannot be read leaves its
// own values unknown.
func (s *Sampler) sampleHost(now tcp.Stamp, span uint64, ports bool) store.Usage {
	u := store.Usage{Time: now.Wall, Span: span, Host: s.cfg.Host, Scope: store.ScopeHost}
	clear(s.next)
	s.hostCPU(&u)
	s.hostMemory(&u)
	s.hostPressure()
	s.hostTCP(&u, ports)
	for m, v := range s.next {
		if base, ok := s.host[m]; ok && v >= base {
			u.Set(m, v-base)
		}
	}
	s.hostDisks(&u, now)
	s.host, s.next = s.next, s.host
	return u
}

func (s *Sampler) hostCPU(u *store.Usage) {
	if b, err := s.files.read(s.cfg.Proc + "/stat"); err == nil {
		if t, err := parseStat(b); err == nil {
			s.next[store.CPUUser], s.next[store.CPUSystem] = t.user, t.system
			s.next[store.CPUIOWait], s.next[store.CPUSteal] = t.iowait, t.steal
			if t.cpus > 0 {
				u.Set(store.CPUs, t.cpus)
			}
		}
	}
	if b, err := s.files.read(s.cfg.Proc + "/loadavg"); err == nil {
		if load, err := parseLoad(b); err == nil {
			u.Set(store.Load1, load)
		}
	}
}

func (s *Sampler) hostMemory(u *store.Usage) {
	b, err := s.files.read(s.cfg.Proc + "/meminfo")
	if err != nil {
		return
	}
	const kib = 1024
	var total, available, swap, free uint64
	var has, hasSwap int
	eachPair(b, func(name []byte, v uint64) {
		switch string(name) {
		case "MemTotal":
			total = v * kib
			has++
		case "MemAvailable":
			available = v * kib
			has++
		case "SwapTotal":
			swap = v * kib
			hasSwap++
		case "SwapFree":
			free = v * kib
			hasSwap++
		}
	})
	if has == 2 {
		u.Set(store.MemoryTotal, total)
		u.Set(store.MemoryAvailable, available)
		if available <= total {
			u.Set(store.Memory, total-available)
		}
	}
	if hasSwap == 2 && free <= swap {
		u.Set(store.SwapUsed, swap-free)
	}
}

// pressures are the files of a directory with stall times. The measure of the
// time that all waited is the first one again where there is none.
var pressures = [...]struct {
	name       string
	some, full store.Measure
}{
	{"cpu", store.PressureCPU, store.PressureCPU},
	{"memory", store.PressureMemory, store.PressureMemoryFull},
	{"io", store.PressureIO, store.PressureIOFull},
}

// readPressure hands the stall times of a directory to set; suffix is what the
// names of its files end in.
func (s *Sampler) readPressure(dir, suffix string, set func(store.Measure, uint64)) {
	for _, p := range pressures {
		b, err := s.files.read(dir + "/" + p.name + suffix)
		if err != nil {
			continue
		}
		some, full, hasFull, err := parsePressure(b)
		if err != nil {
			continue
		}
		set(p.some, some)
		if hasFull && p.full != p.some {
			set(p.full, full)
		}
	}
}

func (s *Sampler) hostPressure() {
	s.readPressure(s.cfg.Proc+"/pressure", "", func(m store.Measure, v uint64) { s.next[m] = v })
}

func (s *Sampler) hostTCP(u *store.Usage, ports bool) {
	var name []byte
	for _, file := range [...]string{"/self/net/snmp", "/self/net/netstat"} {
		b, err := s.files.read(s.cfg.Proc + file)
		if err != nil {
			continue
		}
		_ = host.EachCounter(b, func(group, key []byte, v uint64) { // what came before the break holds
			name = append(append(append(name[:0], group...), '.'), key...)
			if m, ok := tcpCounters[string(name)]; ok {
				s.next[m] = v
			}
		})
	}
	if b, err := s.files.read(s.cfg.Proc + "/self/net/sockstat"); err == nil {
		if t, ok := parseSockstat(b, "TCP:"); ok {
			u.Set(store.TCPMemory, t.memory*s.page)
			u.Set(store.TCPOrphans, t.orphans)
			u.Set(store.TCPTimeWait, t.timeWait)
			inUse := t.inUse
			if b, err := s.files.read(s.cfg.Proc + "/self/net/sockstat6"); err == nil {
				if six, ok := parseSockstat(b, "TCP6:"); ok {
					inUse += six.inUse
				}
			}
			u.Set(store.TCPInUse, inUse)
		}
	}
	if b, err := s.files.read(s.cfg.Proc + "/sys/net/ipv4/tcp_mem"); err == nil {
		if ns, err := parseNumbers(b); err == nil && len(ns) == 3 && ns[2] < 1<<40 {
			u.Set(store.TCPMemoryLimit, ns[2]*s.page)
		}
	}
	b, err := s.files.read(s.cfg.Proc + "/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return
	}
	ns, err := parseNumbers(b)
	if err != nil || len(ns) != 2 || ns[0] > ns[1] || ns[1] > 65535 {
		return
	}
	u.Set(store.EphemeralPorts, ns[1]-ns[0]+1)
	if ports {
		used := uint64(0)
		for p := range s.ports {
			if ns[0] <= uint64(p) && uint64(p) <= ns[1] {
				used++
			}
		}
		u.Set(store.EphemeralUsed, used)
	}
}

// diskBase is the counters of a disk at the last sample.
type diskBase struct {
	read, written, busy uint64
	has                 bool
}

// disksEvery is how often new disks are looked for, nanoseconds.
const disksEvery = 60_000_000_000

// findDisks lists the devices that are hardware, or look so: partitions and what
// is made of other disks would count twice.
func (s *Sampler) findDisks(now tcp.Stamp) {
	if len(s.disks) > 0 && now.Boot-s.disksAt < disksEvery {
		return
	}
	s.disksAt = now.Boot
	entries, err := os.ReadDir(s.cfg.Blocks)
	if err != nil {
		return
	}
	for _, e := range entries {
		if _, known := s.disks[e.Name()]; known {
			continue
		}
		if _, err := os.Stat(s.cfg.Blocks + "/" + e.Name() + "/device"); err == nil {
			s.disks[e.Name()] = diskBase{}
		}
	}
}

// hostDisks sums what disks did. A disk counts from its second sample on.
func (s *Sampler) hostDisks(u *store.Usage, now tcp.Stamp) {
	s.findDisks(now)
	if len(s.disks) == 0 {
		return
	}
	b, err := s.files.read(s.cfg.Proc + "/diskstats")
	if err != nil {
		return
	}
	var read, written, busiest uint64
	known := false
	_ = parseDisks(b, func(name []byte, r, w, busy uint64) { // what came before the break holds
		base, ok := s.disks[string(name)]
		if !ok {
			return
		}
		if base.has && r >= base.read && w >= base.written && busy >= base.busy {
			read, written, busiest = read+r-base.read, written+w-base.written, max(busiest, busy-base.busy)
			known = true
		}
		s.disks[string(name)] = diskBase{r, w, busy, true}
	})
	if known {
		u.Set(store.ReadBytes, read)
		u.Set(store.WrittenBytes, written)
		u.Set(store.DiskBusy, busiest)
	}
}
