package storetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// A Generator makes records as a busy host would: some twenty services and
// clients, remote ends by Zipf's law, one in five over IPv6, more by day than by
// night, long connections with snapshots between short ones. The same seed makes
// the same records.
type Generator struct {
	rng   *rand.Rand
	roles []role
	zipf  *rand.Zipf
	peers []peer
	nets  []string // names of networks
	hosts string   // those of all peers, one after the other
	ids   tcp.IDs

	begin time.Time
	days  float64
	total int
	next  int
	// long are connections that go on, by when their next row is due.
	long []*long
	// room is what the records of one call of Next consist of, used how much of
	// it is taken.
	room  []parts
	used  int
	reuse bool
}

// parts are what a record points to.
type parts struct {
	conn   tcp.Conn
	names  tcp.Names
	deltas store.Counters
}

// A role is a process with what it does with TCP.
type role struct {
	process   *tcp.Process
	names     *tcp.Names // by direction inbound
	direction tcp.Direction
	port      uint16
	uid       uint32
	weight    int
	bytes     float64 // typical, each way
	seconds   float64
	local     tcp.Addr
}

// A peer has no pointers: there are so many that clearing up would notice.
type peer struct {
	addr     tcp.Addr
	rtt      float64 // microseconds
	net      uint16
	host     uint32 // where its name begins in hosts
	hostSize uint8
}

type long struct {
	conn  tcp.Conn
	last  store.Counters
	since int64
	due   int64
	rows  int
}

var programs = []struct {
	name, exe, args, unit, container string
	direction                        tcp.Direction
	port                             uint16
	weight                           int
	bytes, seconds                   float64
}{
	{"nginx", "/usr/sbin/nginx", "nginx: worker process", "nginx.service", "", tcp.Inbound, 443, 300, 9000, 4},
	{"nginx", "/usr/sbin/nginx", "nginx: worker process", "nginx.service", "", tcp.Inbound, 80, 60, 700, 1},
	{"sshd", "/usr/sbin/sshd", "sshd: deploy [priv]", "ssh.service", "", tcp.Inbound, 22, 30, 5000, 20},
	{"postgres", "/usr/lib/postgresql/16/bin/postgres", "postgres: shop shop 10.3.0.17(51842) idle", "postgresql@16-main.service", "", tcp.Inbound, 5432, 90, 20000, 60},
	{"redis-server", "/usr/bin/redis-server", "/usr/bin/redis-server 127.0.0.1:6379", "redis-server.service", "", tcp.Inbound, 6379, 90, 1500, 10},
	{"node_exporter", "/usr/local/bin/node_exporter", "/usr/local/bin/node_exporter --web.listen-address=:9100", "node_exporter.service", "", tcp.Inbound, 9100, 20, 60000, 0.2},
	{"java", "/usr/lib/jvm/java-21/bin/java", "java -Xmx2g -jar /srv/checkout/checkout.jar --server.port=8443", "", "3f9c2ad1b7e0", tcp.Inbound, 8443, 70, 12000, 3},
	{"python3", "/usr/bin/python3.12", "/usr/bin/python3 -m gunicorn shop.wsgi -b :8000 -w 8", "", "a81c7be09d35", tcp.Inbound, 8000, 60, 8000, 1},
	{"grafana", "/usr/share/grafana/bin/grafana", "/usr/share/grafana/bin/grafana server --config=/etc/grafana/grafana.ini", "grafana-server.service", "", tcp.Inbound, 3000, 10, 30000, 15},
	{"haproxy", "/usr/sbin/haproxy", "/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -p /run/haproxy.pid", "haproxy.service", "", tcp.Inbound, 8080, 40, 4000, 2},
	{"curl", "/usr/bin/curl", "curl -fsS --max-time 10 -H Authorization:*** https://api.example.com/v2/health", "", "", tcp.Outbound, 443, 40, 1200, 0.3},
	{"java", "/usr/lib/jvm/java-21/bin/java", "java -Xmx2g -jar /srv/checkout/checkout.jar --server.port=8443", "", "3f9c2ad1b7e0", tcp.Outbound, 5432, 40, 15000, 30},
	{"python3", "/usr/bin/python3.12", "/usr/bin/python3 -m gunicorn shop.wsgi -b :8000 -w 8", "", "a81c7be09d35", tcp.Outbound, 6379, 50, 900, 5},
	{"python3", "/usr/bin/python3.12", "/usr/bin/python3 -m celery -A shop worker -c 4", "celery.service", "", tcp.Outbound, 443, 30, 6000, 1},
	{"git", "/usr/lib/git-core/git-remote-https", "git-remote-https origin https://git.example.org/infra/config.git", "", "", tcp.Outbound, 443, 5, 200000, 3},
	{"apt", "/usr/lib/apt/methods/http", "/usr/lib/apt/methods/http", "apt-daily.service", "", tcp.Outbound, 80, 3, 3000000, 5},
	{"filebeat", "/usr/share/filebeat/bin/filebeat", "/usr/share/filebeat/bin/filebeat -c /etc/filebeat/filebeat.yml", "filebeat.service", "", tcp.Outbound, 5044, 8, 400000, 600},
	{"chronyd", "/usr/sbin/chronyd", "/usr/sbin/chronyd -F 1", "chrony.service", "", tcp.Outbound, 4460, 1, 3000, 0.2},
	{"ssh", "/usr/bin/ssh", "ssh -N -L 15432:db1.internal:5432 bastion.example.net", "", "", tcp.Outbound, 22, 2, 90000, 1800},
	{"node", "/usr/bin/node", "node /srv/front/server.js", "front.service", "", tcp.Outbound, 8000, 51, 7000, 1},
}

var countries = []string{"DE", "US", "FR", "GB", "NL", "PL", "IN", "BR", "JP", "CN", "ES", "IT", "SE", "CZ", "AT", "CH", "CA", "AU", "KR", "ZA"}

// NewGenerator makes total records that end within days from begin on.
func NewGenerator(seed uint64, total int, begin time.Time, days float64) *Generator {
	rng := rand.New(rand.NewPCG(seed, 0x76746370))
	g := &Generator{rng: rng, begin: begin, days: days, total: total, ids: tcp.NewIDs("9c1f1c5e-52a5-4a57-9c9f-" + strconv.FormatUint(seed, 16))}
	remotes := min(200_000, max(50, total/4))
	g.zipf = rand.NewZipf(rng, 1.1, 8, uint64(remotes-1))
	g.peers = make([]peer, remotes)
	var hosts []byte
	for i := range g.peers {
		p := makePeer(rng, i)
		p.host = uint32(len(hosts))
		hosts = fmt.Appendf(hosts, "h%d.as%d.example.net", i%4000, p.net)
		p.hostSize = uint8(len(hosts) - int(p.host))
		g.peers[i] = p
	}
	g.hosts = string(hosts)
	for i := range networks {
		g.nets = append(g.nets, "Network "+strconv.Itoa(i)+" Ltd.")
	}
	for i, p := range programs {
		pid := int32(700 + i*613)
		proc := &tcp.Process{
			ProcessID: tcp.ProcessID{PID: pid, Start: uint64(i) * 1e9}, Name: p.name, Exe: p.exe, Cmdline: p.args,
			Parent: 1, UID: uint32(100 + i), HasUID: true, User: "svc-" + p.name, Container: p.container, Unit: p.unit,
			Cgroup: "/system.slice/" + p.unit,
		}
		if p.container != "" {
			proc.Cgroup = "/system.slice/docker-" + p.container + "7a44cf09d2b1e66f0a3c5d8e91b2f7c4a6d0e3f5812b9c7d.scope"
		}
		service := p.unit
		if service == "" {
			service = p.container
		}
		if p.direction == tcp.Outbound || service == "" {
			service = map[uint16]string{443: "https", 80: "http", 22: "ssh", 5432: "postgresql", 6379: "redis", 5044: "lxi-evntsvc", 4460: "ntske", 8000: "irdmi"}[p.port]
		}
		g.roles = append(g.roles, role{
			process: proc, names: &tcp.Names{Service: service}, direction: p.direction, port: p.port,
			uid: proc.UID, weight: p.weight, bytes: p.bytes, seconds: p.seconds, local: tcp.AddrFrom4([4]byte{10, 3, 0, 17}),
		})
	}
	return g
}

const networks = 3000

func makePeer(rng *rand.Rand, i int) peer {
	asn := uint32(rng.Uint64() % networks)
	p := peer{net: uint16(asn), rtt: math.Exp(rng.NormFloat64()*0.7 + math.Log(22000))}
	if i%5 == 0 {
		p.addr = tcp.Addr{0x20, 0x01, 0x0d, 0xb8, byte(asn >> 8), byte(asn)}
		for j := 6; j < 16; j++ {
			p.addr[j] = byte(rng.Uint32())
		}
	} else {
		p.addr = tcp.AddrFrom4([4]byte{byte(11 + asn%180), byte(asn >> 4), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	return p
}

// Reuse lets what Next returns hold until its next call only, so that a benchmark
// does not pay for clearing away what the generator made.
func (g *Generator) Reuse() { g.reuse = true }

func (g *Generator) host(p *peer) string { return g.hosts[p.host:][:p.hostSize] }

// Next appends the next n records to dst, by rising Time; fewer at the end.
func (g *Generator) Next(dst []store.Record, n int) []store.Record {
	if !g.reuse || len(g.room) < n {
		g.room = make([]parts, min(n, g.total-g.next))
	}
	g.used = 0
	for range n {
		if g.next == g.total {
			return dst
		}
		now := g.at(g.next)
		g.next++
		if len(g.long) > 0 && g.long[0].due <= now {
			dst = append(dst, g.continueLong(now))
			continue
		}
		dst = append(dst, g.short(now))
	}
	return dst
}

// at is when record i ends: days have a busy and a quiet half.
func (g *Generator) at(i int) int64 {
	x := (float64(i) + 0.5) / float64(g.total) * g.days
	day, frac := math.Modf(x)
	frac -= 0.6 * math.Sin(2*math.Pi*frac) / (2 * math.Pi) // still rising
	return g.begin.UnixNano() + int64((day+frac)*86400e9) + int64(g.rng.IntN(1000))
}

// take returns room for a record; what stands there is of an earlier one.
func (g *Generator) take() *parts {
	p := &g.room[g.used]
	g.used++
	return p
}

func (g *Generator) role() *role {
	sum := 0
	for i := range g.roles {
		sum += g.roles[i].weight
	}
	n := g.rng.IntN(sum)
	for i := range g.roles {
		if n -= g.roles[i].weight; n < 0 {
			return &g.roles[i]
		}
	}
	return &g.roles[0]
}

func (g *Generator) spread(typical, sigma float64) uint64 {
	return uint64(typical * math.Exp(g.rng.NormFloat64()*sigma))
}

const allMetrics = tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasSegmentsSent | tcp.HasSegmentsReceived |
	tcp.HasSendQueue | tcp.HasRecvQueue | tcp.HasNotSent | tcp.HasUnacked | tcp.HasRTT | tcp.HasMinRTT | tcp.HasRTO |
	tcp.HasMSS | tcp.HasPMTU | tcp.HasRetransmits | tcp.HasBytesRetransmitted | tcp.HasLost | tcp.HasReordering |
	tcp.HasDSACKDups | tcp.HasOOOReceived | tcp.HasECNCE | tcp.HasCWND | tcp.HasSndWnd | tcp.HasRcvWnd |
	tcp.HasDeliveryRate | tcp.HasPacingRate | tcp.HasLimited | tcp.HasCC | tcp.HasUID | tcp.HasCookie |
	tcp.HasHandshake | tcp.HasCAState | tcp.HasRecoveries

// short is a connection that ends now.
func (g *Generator) short(now int64) store.Record {
	r := g.role()
	p := &g.peers[g.zipf.Uint64()]
	to := g.take()
	c, names := &to.conn, &to.names
	*c = tcp.Conn{
		Key: tcp.Key{
			Tuple: tcp.Tuple{Local: r.local, Remote: p.addr, LocalPort: r.port, RemotePort: uint16(32768 + g.rng.IntN(28232))},
			NetNS: 4026531840,
		},
		Cookie: uint64(4096 + g.next*2 + g.rng.IntN(2)), Process: r.process, Names: r.names, Has: allMetrics,
		State: tcp.Closed, Direction: r.direction, Source: tcp.SourceEBPF, Attribution: tcp.AttributionExact,
		OpenedExact: true, Complete: true, UID: r.uid, IPv6: !p.addr.Is4(),
	}
	c.ID = g.ids.Socket(c.NetNS, c.Cookie)
	if !p.addr.Is4() {
		c.Local = tcp.Addr{0x20, 0x01, 0x0d, 0xb8, 0, 3, 15: 0x17}
	}
	*names = *r.names
	names.Country, names.ASN, names.ASOrg = countries[int(p.net)%len(countries)], 1000+uint32(p.net)*7, g.nets[p.net]
	if r.direction == tcp.Outbound {
		c.LocalPort, c.RemotePort = c.RemotePort, r.port
		switch r.port {
		case 443:
			names.SNI, names.ALPN = g.host(p), "h2,http/1.1"
		case 80:
			names.HTTPHost = g.host(p)
		}
	}
	c.Names = names
	us := int64(g.spread(r.seconds*1e6, 1.2))
	// The two clocks drift a little apart.
	c.Closed = tcp.Stamp{Wall: now, Boot: now - 1_700_000_000_000_000_000 + int64(g.rng.IntN(100))}
	c.Opened = tcp.Stamp{Wall: now - us*1000, Boot: c.Closed.Boot - us*1000 - int64(g.rng.IntN(1000))}
	c.Updated = c.Closed
	c.Handshake = uint32(p.rtt * (1 + g.rng.Float64()/10))
	c.ClosedBy = tcp.Side(1 + g.rng.IntN(2))
	c.Reason = tcp.CloseFIN
	switch g.rng.IntN(50) {
	case 0:
		c.Reason = tcp.CloseRSTReceived
	case 1:
		c.Reason = tcp.CloseRSTSent
	case 2:
		c.Reason, c.ClosedBy = tcp.CloseTimeout, tcp.SideUnknown
	}
	g.metrics(&c.Metrics, r, p, us)
	if g.rng.IntN(200) == 0 {
		g.begins(c, now)
	}
	return store.Record{Kind: store.Close, Time: now, Host: "web-1", BootID: "0d5e9e2e-6f0b-4b43-8f52-0c3b9d6b1f3a", Conn: c}
}

func (g *Generator) metrics(m *tcp.Metrics, r *role, p *peer, us int64) {
	sent, got := g.spread(r.bytes, 1.5), g.spread(r.bytes/6, 1.2)
	if r.direction == tcp.Outbound {
		sent, got = got, sent
	}
	m.BytesSent, m.BytesReceived = sent, got
	m.SegmentsSent, m.SegmentsReceived = uint32(4+sent/1448+got/2896), uint32(4+got/1448+sent/2896)
	m.MSS, m.PMTU = 1448, 1500
	if g.rng.IntN(8) == 0 {
		m.MSS, m.PMTU = 1388, 1440
	}
	if g.rng.IntN(12) == 0 {
		m.Retransmits = 1 + uint32(g.rng.IntN(4))
		m.BytesRetransmitted = uint64(m.Retransmits) * 700
		m.DSACKDups = uint32(g.rng.IntN(2))
		m.Recoveries = 1
	}
	m.RTT = uint32(p.rtt * (1 + g.rng.ExpFloat64()/8))
	m.RTTVar = m.RTT / uint32(2+g.rng.IntN(6))
	m.MinRTT = uint32(p.rtt)
	m.RTO = 200_000 + m.RTT/1000*1000
	m.Reordering = 3
	m.CWND = 10 + uint32(sent/14480)
	m.SndWnd, m.RcvWnd = uint32(64256+g.rng.IntN(40)*1024), 65535
	m.DeliveryRate = 1448 * 10 * 1e6 / uint64(m.RTT+1)
	m.PacingRate = m.DeliveryRate * 2
	m.Busy = min(uint64(us), uint64(m.RTT)*(1+sent/14480))
	if g.rng.IntN(30) == 0 {
		m.RwndLimited = m.Busy / 3
	}
	m.CC = tcp.MakeCC("cubic")
	m.AppLimited = g.rng.IntN(3) == 0
}

// begins makes a connection like c that goes on, with a row each five minutes.
func (g *Generator) begins(c *tcp.Conn, now int64) {
	l := &long{conn: *c, due: now + 5*store.Minute}
	names := *c.Names
	l.conn.Names = &names
	l.conn.Cookie |= 1 << 40
	l.conn.ID = g.ids.Socket(l.conn.NetNS, l.conn.Cookie)
	l.conn.Closed, l.conn.ClosedBy, l.conn.Reason, l.conn.State = tcp.Stamp{}, 0, 0, tcp.Established
	l.conn.Opened = tcp.Stamp{Wall: now, Boot: now - 1_700_000_000_000_000_000}
	g.long = append(g.long, l)
}

func (g *Generator) continueLong(now int64) store.Record {
	l := g.long[0]
	g.long = g.long[1:]
	to := g.take()
	c := &to.conn
	*c = l.conn
	c.Metrics.BytesSent += g.spread(20000, 1)
	c.Metrics.BytesReceived += g.spread(9000, 1)
	c.Metrics.SegmentsSent += 40
	c.Metrics.SegmentsReceived += 35
	c.Metrics.RTT = uint32(float64(c.Metrics.MinRTT) * (1 + g.rng.ExpFloat64()/8))
	c.Updated = tcp.Stamp{Wall: now, Boot: now - 1_700_000_000_000_000_000}
	rec := store.Record{Kind: store.Snapshot, Time: now, Since: l.since, Host: "web-1", BootID: "0d5e9e2e-6f0b-4b43-8f52-0c3b9d6b1f3a", Conn: c}
	all := store.CountersOf(c)
	if l.since != 0 {
		to.deltas = all.Since(&l.last)
		rec.Deltas = &to.deltas
	}
	l.conn, l.last, l.since, l.rows = *c, all, now, l.rows+1
	if l.rows > 3 && g.rng.IntN(12) == 0 {
		rec.Kind = store.Close
		c.Closed, c.State, c.Reason, c.ClosedBy = c.Updated, tcp.Closed, tcp.CloseFIN, tcp.SideRemote
		return rec
	}
	l.due = now + 5*store.Minute
	g.long = append(g.long, l)
	return rec
}

// Begin is a day for tests.
var Begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// AddPackets gives every other record numbers of packets.
func AddPackets(recs []store.Record) {
	for i := range recs {
		if i%2 == 0 {
			continue
		}
		n := uint32(i)
		c := *recs[i].Conn
		c.Packets = &tcp.PacketStats{
			Packets: [2]uint64{uint64(n) + 5, uint64(n) + 3}, WireBytes: [2]uint64{uint64(n) * 900, 7},
			Retransmissions: [2]uint32{n % 3, 0}, SYNs: [2]uint32{1, 1}, RTTSamples: [2]uint32{n % 2, 1},
			RTTMin: [2]uint32{0, 90}, RTTP95: [2]uint32{n, 200}, IdleMax: [2]uint64{uint64(n) << 33, 1},
			InitialRTT: n, ConnState: "SF", History: "ShADadFf", Completeness: 31, Flags: 0x1b,
		}
		recs[i].Conn = &c
	}
}
