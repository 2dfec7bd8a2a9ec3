package demo

import (
	"fmt"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Spec is a socket to be added.
type Spec struct {
	Process       string
	PID           int32
	User, Unit    string
	Cmdline       string
	Container     string
	Local, Remote string
	LPort, RPort  uint16
	State         tcp.State
	Direction     tcp.Direction
	Country       string
	ASN           uint32
	SNI           string
	// Age is how long ago it was opened; 0 is now, and negative unknown.
	Age         time.Duration
	RX, TX, RTT uint64
	Waver       float64
	Lossy       float64
	Retransmits uint32
	// Lasts is the seconds until it ends; 0 is for ever.
	Lasts          int
	Reason         tcp.CloseReason
	Queue, Backlog uint32
	Remnant        bool
}

// Add opens a socket. It is for scripts, which run with the feed's lock held.
func (f *Feed) Add(p Spec) {
	id := f.next
	f.next++
	c := &tcp.Conn{
		ID: tcp.NewIDs("demo").Socket(1, id), Cookie: id, State: p.State, Direction: p.Direction, Source: tcp.SourceEBPF,
		Attribution: tcp.AttributionExact, Complete: true, Updated: f.now, Inode: uint32(20000 + id), UID: 33, Remnant: p.Remnant,
		Has: tcp.HasCookie | tcp.HasUID | tcp.HasInode,
	}
	c.NetNS, c.Local, c.LocalPort, c.RemotePort = 4026531840, Addr(p.Local), p.LPort, p.RPort
	if p.Remote != "" {
		c.Remote = Addr(p.Remote)
	}
	c.IPv6 = !c.Local.Is4()
	if p.Process != "" {
		c.Process = &tcp.Process{
			ProcessID: tcp.ProcessID{PID: p.PID, Start: 1}, Name: p.Process, Exe: "/usr/bin/" + p.Process, Cmdline: p.Cmdline,
			Parent: 1, User: p.User, Unit: p.Unit, Container: p.Container,
		}
	} else {
		c.Attribution = tcp.AttributionUnknown
	}
	c.Names = &tcp.Names{Host: "web-1", Country: p.Country, ASN: p.ASN, SNI: p.SNI, Service: p.Process}
	s := &sock{rx: p.RX, tx: p.TX, rtt: p.RTT, waver: p.Waver, lossy: p.Lossy, reason: p.Reason, queue: p.Queue}
	if p.Lasts > 0 {
		s.closes = f.step + p.Lasts
	}
	switch {
	case p.State == tcp.Listen:
		c.Has |= tcp.HasAcceptQueue | tcp.HasBacklog
		c.Metrics.AcceptQueue, c.Metrics.Backlog = p.Queue, p.Backlog
	case p.Remnant:
	case p.State == tcp.SynSent:
		c.Opened, c.OpenedExact = f.now.Add(-p.Age), true
	default:
		if p.Age >= 0 {
			c.Opened, c.OpenedExact = f.now.Add(-p.Age), true
			c.Has |= tcp.HasHandshake
			c.Handshake = uint32(p.RTT)
		}
		secs := uint64(max(p.Age, 0) / time.Second)
		c.Has |= tcp.HasBytesSent | tcp.HasBytesReceived | tcp.HasRTT | tcp.HasMinRTT | tcp.HasCWND | tcp.HasRetransmits | tcp.HasMSS |
			tcp.HasSegmentsSent | tcp.HasSendQueue | tcp.HasRecvQueue | tcp.HasRTO | tcp.HasCC | tcp.HasSndWnd | tcp.HasRcvWnd | tcp.HasPMTU
		m := &c.Metrics
		m.BytesSent, m.BytesReceived = p.TX*secs, p.RX*secs
		m.RTT, m.RTTVar, m.MinRTT, m.RTO = uint32(p.RTT), uint32(p.RTT/4), uint32(p.RTT*8/10), uint32(200_000+p.RTT*2)
		m.CWND, m.MSS, m.PMTU, m.SndWnd, m.RcvWnd = 10, 1448, 1500, 64256, 65535
		m.SegmentsSent = uint32(m.BytesSent/1448) + 2
		m.Retransmits = p.Retransmits
		m.CC = tcp.MakeCC("cubic")
	}
	s.conn = c
	f.socks = append(f.socks, s)
	if p.State == tcp.Listen || p.Remnant {
		return
	}
	f.stats.Opened++
	if p.Age == 0 {
		f.emit(tcp.Event{Type: tcp.EventOpened, Conn: c})
		if p.State == tcp.Established {
			f.stats.Established++
			f.emit(tcp.Event{Type: tcp.EventEstablished, Conn: c})
		}
	}
}

// Turn changes the state of the sockets of a process.
func (f *Feed) Turn(process string, to tcp.State) {
	for _, s := range f.socks {
		if s.conn.Process == nil || s.conn.Process.Name != process || s.closed {
			continue
		}
		c := *s.conn
		c.State, c.Updated = to, f.now
		s.conn = &c
		f.emit(tcp.Event{Type: tcp.EventChanged, Conn: &c})
	}
}

// Host is a web server on an ordinary day: clients from all over, a database, a
// backup over a bad line, an application that forgets to close, a listener whose
// queue is nearly full, and programs that come and go.
func Host() *Feed {
	return New(func(f *Feed, step int) {
		if step == 0 {
			residents(f)
		}
		visitors(f, step)
	})
}

const webAddr = "192.0.2.10"

func residents(f *Feed) {
	const day = 24 * time.Hour
	listen := func(process string, pid int32, unit, local string, port uint16, queue, backlog uint32) {
		f.Add(Spec{Process: process, PID: pid, User: "root", Unit: unit, Local: local, LPort: port, State: tcp.Listen, Direction: tcp.Listening, Age: -1, Queue: queue, Backlog: backlog})
	}
	listen("sshd", 812, "ssh.service", "0.0.0.0", 22, 0, 128)
	listen("nginx", 1040, "nginx.service", "0.0.0.0", 443, 3, 511)
	listen("nginx", 1040, "nginx.service", "0.0.0.0", 80, 0, 511)
	listen("postgres", 990, "postgresql.service", "127.0.0.1", 5432, 0, 244)
	listen("java", 2210, "shop.service", "127.0.0.1", 8080, 43, 50)
	listen("node_exporter", 871, "node_exporter.service", "::", 9100, 0, 4096)

	est := Spec{State: tcp.Established, Waver: 0.6}
	with := func(p Spec, process string, pid int32, user string) Spec {
		p.Process, p.PID, p.User = process, pid, user
		return p
	}
	s := with(est, "sshd", 30412, "root")
	s.Local, s.LPort, s.Remote, s.RPort, s.Direction, s.Country, s.ASN = webAddr, 22, "198.51.100.23", 50114, tcp.Inbound, "DE", 64500
	s.RX, s.TX, s.RTT, s.Age = 240, 1800, 18_400, 3*time.Hour+12*time.Minute
	f.Add(s)
	s = with(est, "rsync", 28771, "backup")
	s.Cmdline = "rsync -a --partial /srv/data backup@203.0.113.77:/vault"
	s.Local, s.LPort, s.Remote, s.RPort, s.Direction, s.Country, s.ASN = webAddr, 45822, "203.0.113.77", 22, tcp.Outbound, "BR", 64511
	s.RX, s.TX, s.RTT, s.Age, s.Lossy, s.Retransmits = 3_000, 2_400_000, 212_000, 47*time.Minute, 0.35, 3127
	f.Add(s)
	for i := range 6 { // the pool of the application
		s = with(est, "java", 2210, "shop")
		s.Cmdline, s.Unit = "java -Xmx4g -jar /opt/shop/shop.jar", "shop.service"
		s.Local, s.LPort, s.Remote, s.RPort, s.Direction = "10.0.0.10", uint16(51100+7*i), "10.0.0.20", 5432, tcp.Outbound
		s.RX, s.TX, s.RTT, s.Age = uint64(90_000+20_000*i), 12_000, 240, 5*day+time.Duration(i)*time.Hour
		f.Add(s)
	}
	for i := range 9 { // replies that nobody reads
		s = with(est, "java", 2210, "shop")
		s.Unit, s.State = "shop.service", tcp.CloseWait
		s.Local, s.LPort, s.Remote, s.RPort, s.Direction, s.Country, s.ASN = webAddr, uint16(38002+11*i), "203.0.113.140", 443, tcp.Outbound, "US", 64496
		s.RTT, s.Age = 96_000, time.Duration(20+9*i)*time.Minute
		f.Add(s)
	}
	s = with(est, "prometheus", 1502, "prometheus")
	s.Container = "3f4e9a1c77b2"
	s.Local, s.LPort, s.Remote, s.RPort, s.Direction = "::ffff:10.0.0.10", 9100, "10.0.0.31", 40110, tcp.Inbound
	s.RX, s.TX, s.RTT, s.Age = 400, 18_000, 310, 2*day
	f.Add(s)
	for i := range 4 {
		f.Add(Spec{Local: webAddr, LPort: 443, Remote: fmt.Sprintf("198.51.100.%d", 60+i), RPort: uint16(52000 + i), State: tcp.TimeWait, Direction: tcp.Inbound, Remnant: true, Age: -1})
	}
	s = with(est, "certbot", 31990, "root")
	s.State, s.Local, s.LPort, s.Remote, s.RPort, s.Direction = tcp.SynSent, webAddr, 41522, "203.0.113.9", 443, tcp.Outbound
	f.Add(s)
}

// places are where visitors come from.
var places = []struct {
	addr, country string
	asn           uint32
	rtt           uint64
}{
	{"198.51.100.%d", "DE", 64500, 21_000},
	{"203.0.113.%d", "FR", 64501, 33_000},
	{"198.51.100.%d", "NL", 64502, 27_000},
	{"2001:db8:42::%x", "JP", 64503, 262_000},
	{"203.0.113.%d", "US", 64496, 98_000},
	{"2001:db8:9::%x", "GB", 64504, 38_000},
}

// visitors come, fetch a page and leave.
func visitors(f *Feed, step int) {
	begin := 1
	if step == 0 {
		begin = 18
	}
	for i := range begin {
		n := step*7 + i*3
		p := places[n%len(places)]
		s := Spec{
			Process: "nginx", PID: int32(1041 + n%2), User: "www-data", Unit: "nginx.service", State: tcp.Established, Direction: tcp.Inbound,
			Local: webAddr, LPort: 443, Remote: fmt.Sprintf(p.addr, 20+n%200), RPort: uint16(40000 + (n*389)%20000), Country: p.country, ASN: p.asn,
			RX: uint64(2_000 + 400*(n%9)), TX: uint64(40_000 + 61_000*(n%7)), RTT: p.rtt + uint64(137*(n%11)), Waver: 0.8,
			Lasts: 4 + n*5%23, Reason: tcp.CloseFIN,
		}
		if p.country == "JP" || p.country == "GB" {
			s.Local = "2001:db8::10"
		}
		if n%13 == 5 {
			s.Lossy, s.Reason = 0.4, tcp.CloseRSTReceived
		}
		if step == 0 {
			s.Age = time.Duration(2+n) * time.Second
		}
		f.Add(s)
	}
	if step > 0 && step%6 == 3 {
		f.Add(Spec{
			Process: "curl", PID: int32(32000 + step), User: "deploy", State: tcp.Established, Direction: tcp.Outbound,
			Cmdline: "curl -sf https://status.example.net/hook", SNI: "status.example.net",
			Local: webAddr, LPort: uint16(47000 + step%1000), Remote: "203.0.113.80", RPort: 443, Country: "SE", ASN: 64510,
			RX: 12_000, TX: 800, RTT: 41_000, Lasts: 2, Reason: tcp.CloseFIN,
		})
	}
}

// Many is a host with n connections, of which a share in percent changes each
// second.
func Many(n, percent int) *Feed {
	return New(func(f *Feed, step int) {
		if step > 0 {
			return
		}
		for i := range n {
			s := Spec{
				Process: fmt.Sprintf("worker-%d", i%20), PID: int32(1000 + i%20), State: tcp.Established, Direction: tcp.Inbound,
				Local: "192.0.2.10", LPort: 443, Remote: fmt.Sprintf("198.51.%d.%d", 100+i>>8&63, i&255), RPort: uint16(1024 + i%60000),
				RTT: uint64(1000 + i), Age: time.Duration(i+1) * time.Second,
			}
			if i%100 < percent {
				s.RX, s.TX, s.Waver = 1000, 1000, 0.5
			}
			f.Add(s)
		}
	})
}

// Hostile is a host whose processes and names do their worst to a terminal.
func Hostile(texts []string) *Feed {
	return New(func(f *Feed, step int) {
		if step > 0 {
			return
		}
		for i, t := range texts {
			f.Add(Spec{
				Process: t, PID: int32(100 + i), User: t, Unit: t, Container: t, Cmdline: t, State: tcp.Established, Direction: tcp.Outbound,
				Local: "192.0.2.10", LPort: uint16(40000 + i), Remote: "198.51.100.1", RPort: 443, SNI: t, Country: "XX", RX: 10, TX: 10, RTT: 100,
				Age: time.Duration(i+1) * time.Second,
			})
		}
	})
}
