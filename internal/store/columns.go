package store

import (
	"slices"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

// RecordColumns returns the columns of connections, by ascending tag. Setters
// must be called in this order. Callers must not change the slice.
//
// A column that is a field of the registry has its name and its meaning. Not kept
// are fields that follow from others (family, closed, totals of both sides) and
// those that only sockets alive have (inode, the queues of listeners, stream).
func RecordColumns() []Column[Record] { return recordColumns }

var recordColumns = buildRecordColumns()

// Tags of columns that engines and queries treat specially.
const (
	TagKind     = 1
	TagTime     = 2
	TagSince    = 3
	TagID       = 5
	TagHost     = 7
	TagService  = 30
	TagRemoteIP = 22
	TagOpened   = 61
	TagDuration = 63
	tagDeltas   = 200
	tagPackets  = 300
)

func buildRecordColumns() []Column[Record] {
	cs := []Column[Record]{
		{
			Tag: TagKind, Name: "kind", Type: String, Hint: Repeated,
			Str: func(r *Record) (string, bool) { return r.Kind.String(), r.Kind != 0 },
			SetStr: func(r *Record, s string) {
				r.Kind = RecordKind(max(slices.Index(recordKindNames[:], s), 0))
			},
		},
		{
			Tag: TagTime, Name: "time", Type: Time, Hint: Rising,
			Num: func(r *Record) (uint64, bool) { return uint64(r.Time), true },
			SetNum: func(r *Record, v uint64) {
				r.Time = int64(v)
				if r.Kind == Close {
					r.conn().Closed.Wall = r.Time
				} else {
					r.conn().Updated.Wall = r.Time
				}
			},
		},
		when(TagSince, "since", func(r *Record) *int64 { return &r.Since }),
		text(4, "boot_id", func(r *Record) *string { return &r.BootID }),
		text(TagHost, "host", func(r *Record) *string { return &r.Host }),
	}
	cs = append(cs, identityColumns()...)
	cs = append(cs, endColumns()...)
	cs = append(cs, processColumns()...)
	cs = append(cs, lifeColumns()...)
	cs = append(cs, metricColumns()...)
	cs = append(cs, deltaColumns()...)
	cs = append(cs, packetColumns()...)
	slices.SortFunc(cs, func(a, b Column[Record]) int { return int(a.Tag) - int(b.Tag) })
	return cs
}

// field is a column of numbers that reads a field of the registry.
func field(tag uint16, name string, typ Type, hint Hint, set func(*Record, uint64)) Column[Record] {
	f := tcp.FieldByName(name)
	c := Column[Record]{Tag: tag, Name: name, Type: typ, Hint: hint, SetNum: set}
	get := f.Num
	if bit := f.Bit; bit != 0 {
		c.Num = func(r *Record) (uint64, bool) {
			if r.Conn.Has&bit == 0 {
				return 0, false
			}
			return get(r.Conn)
		}
		c.SetNum = func(r *Record, v uint64) {
			r.conn().Has |= bit
			set(r, v)
		}
	} else {
		c.Num = func(r *Record) (uint64, bool) { return get(r.Conn) }
	}
	return c
}

// textField is a column of strings that reads a field of the registry.
func textField(tag uint16, name string, set func(*Record, string)) Column[Record] {
	get := tcp.FieldByName(name).Str
	return Column[Record]{
		Tag: tag, Name: name, Type: String, Hint: Repeated, SetStr: set,
		Str: func(r *Record) (string, bool) { return get(r.Conn) },
	}
}

// enumField is a textField of which the model keeps a number.
func enumField[E interface {
	~uint8
	String() string
}](tag uint16, name string, set func(*Record, E)) Column[Record] {
	values := make(map[string]E)
	for i := range 64 {
		if s := E(i).String(); s != "" {
			values[s] = E(i)
		}
	}
	return textField(tag, name, func(r *Record, s string) { set(r, values[s]) })
}

// addrField is a column of addresses that reads a field of the registry.
func addrField(tag uint16, name string, set func(*Record, tcp.Addr)) Column[Record] {
	get := tcp.FieldByName(name).Addr
	return Column[Record]{
		Tag: tag, Name: name, Type: Addr, Hint: Repeated, SetAddr: set,
		Addr: func(r *Record) (tcp.Addr, bool) { return get(r.Conn) },
	}
}

func identityColumns() []Column[Record] {
	return []Column[Record]{
		field(TagID, "id", ID, Varied, func(r *Record, v uint64) { r.conn().ID = tcp.ID(v) }),
		field(6, "peer_id", ID, Varied, func(r *Record, v uint64) { r.conn().PeerID = tcp.ID(v) }),
		field(8, "netns", Uint32, Repeated, func(r *Record, v uint64) { r.conn().NetNS = uint32(v) }),
		field(9, "cookie", Uint64, Rising, func(r *Record, v uint64) { r.conn().Cookie = v }),
		enumField(10, "direction", func(r *Record, v tcp.Direction) { r.conn().Direction = v }),
		enumField(11, "source", func(r *Record, v tcp.SourceKind) { r.conn().Source = v }),
		textField(12, "observer", func(r *Record, v string) { r.names().Observer = v }),
		textField(13, "interface", func(r *Record, v string) { r.names().Interface = v }),
		field(14, "complete", Bool, Repeated, func(r *Record, v uint64) { r.conn().Complete = v != 0 }),
		field(15, "sample_rate", Uint32, Repeated, func(r *Record, v uint64) { r.names().SampleRate = uint32(v) }),
	}
}

func endColumns() []Column[Record] {
	return []Column[Record]{
		addrField(20, "local_ip", func(r *Record, v tcp.Addr) { r.conn().Local = v }),
		field(21, "local_port", Uint16, Varied, func(r *Record, v uint64) { r.conn().LocalPort = uint16(v) }),
		addrField(TagRemoteIP, "remote_ip", func(r *Record, v tcp.Addr) { r.conn().Remote = v }),
		field(23, "remote_port", Uint16, Varied, func(r *Record, v uint64) { r.conn().RemotePort = uint16(v) }),
		textField(24, "remote_name", func(r *Record, v string) { r.names().RemoteName = v }),
		textField(25, "sni", func(r *Record, v string) { r.names().SNI = v }),
		textField(26, "alpn", func(r *Record, v string) { r.names().ALPN = v }),
		textField(27, "http_host", func(r *Record, v string) { r.names().HTTPHost = v }),
		textField(TagService, "service", func(r *Record, v string) { r.names().Service = v }),
		textField(31, "country", func(r *Record, v string) { r.names().Country = v }),
		field(32, "asn", Uint32, Repeated, func(r *Record, v uint64) { r.names().ASN = uint32(v) }),
		textField(33, "as_org", func(r *Record, v string) { r.names().ASOrg = v }),
		addrField(34, "nat_remote_ip", func(r *Record, v tcp.Addr) { r.names().NATRemote = v }),
		field(35, "nat_remote_port", Uint16, Repeated, func(r *Record, v uint64) { r.names().NATPort = uint16(v) }),
	}
}

func processColumns() []Column[Record] {
	return []Column[Record]{
		field(40, "pid", Uint32, Repeated, func(r *Record, v uint64) { r.process().PID = int32(v) }),
		textField(41, "process", func(r *Record, v string) { r.process().Name = v }),
		textField(42, "exe", func(r *Record, v string) { r.process().Exe = v }),
		textField(43, "cmdline", func(r *Record, v string) { r.process().Cmdline = v }),
		field(44, "uid", Uint32, Repeated, func(r *Record, v uint64) { r.conn().UID = uint32(v) }),
		textField(45, "user", func(r *Record, v string) { r.process().User = v }),
		textField(46, "container", func(r *Record, v string) { r.process().Container = v }),
		textField(47, "unit", func(r *Record, v string) { r.process().Unit = v }),
		textField(48, "cgroup", func(r *Record, v string) { r.process().Cgroup = v }),
		enumField(49, "attribution", func(r *Record, v tcp.Attribution) { r.conn().Attribution = v }),
	}
}

func lifeColumns() []Column[Record] {
	state := tcp.FieldByName("state").Num
	return []Column[Record]{
		{
			Tag: 60, Name: "state", Type: String, Hint: Repeated,
			Str: func(r *Record) (string, bool) {
				v, ok := state(r.Conn)
				return tcp.State(v).String(), ok
			},
			SetStr: func(r *Record, s string) {
				for v := tcp.State(1); v < tcp.NumStates; v++ {
					if v.String() == s {
						r.conn().State = v
					}
				}
			},
		},
		field(TagOpened, "opened", Time, Rising, func(r *Record, v uint64) { r.conn().Opened.Wall = int64(v) }),
		field(62, "opened_exact", Bool, Repeated, func(r *Record, v uint64) { r.conn().OpenedExact = v != 0 }),
		// The boot clock is not kept, only how far it went: an origin is made up.
		field(TagDuration, "duration_us", Uint64, Varied, func(r *Record, v uint64) {
			c := r.conn()
			c.Opened.Boot, c.Updated.Boot = 1, 1+int64(v)*1000
		}),
		field(64, "handshake_us", Uint32, Varied, func(r *Record, v uint64) { r.conn().Handshake = uint32(v) }),
		enumField(65, "closed_by", func(r *Record, v tcp.Side) { r.conn().ClosedBy = v }),
		enumField(66, "close_reason", func(r *Record, v tcp.CloseReason) { r.conn().Reason = v }),
	}
}

func metricColumns() []Column[Record] {
	var tag uint16 = 79
	// These columns are most of a row: they read the value itself, not through
	// the field's getter, which gives the same.
	u64 := func(name string, hint Hint, at func(*tcp.Metrics) *uint64) Column[Record] {
		tag++
		c := field(tag, name, Uint64, hint, func(r *Record, v uint64) { *at(&r.conn().Metrics) = v })
		bit := tcp.FieldByName(name).Bit
		c.Num = func(r *Record) (uint64, bool) { return *at(&r.Conn.Metrics), r.Conn.Has&bit != 0 }
		return c
	}
	u32 := func(name string, hint Hint, at func(*tcp.Metrics) *uint32) Column[Record] {
		tag++
		c := field(tag, name, Uint32, hint, func(r *Record, v uint64) { *at(&r.conn().Metrics) = uint32(v) })
		bit := tcp.FieldByName(name).Bit
		c.Num = func(r *Record) (uint64, bool) { return uint64(*at(&r.Conn.Metrics)), r.Conn.Has&bit != 0 }
		return c
	}
	// The order of this list is the numbering of the columns: append only.
	cs := []Column[Record]{
		u64("bytes_sent", Varied, func(m *tcp.Metrics) *uint64 { return &m.BytesSent }),
		u64("bytes_received", Varied, func(m *tcp.Metrics) *uint64 { return &m.BytesReceived }),
		u64("bytes_missed", Repeated, func(m *tcp.Metrics) *uint64 { return &m.BytesMissed }),
		u32("segments_sent", Varied, func(m *tcp.Metrics) *uint32 { return &m.SegmentsSent }),
		u32("segments_received", Varied, func(m *tcp.Metrics) *uint32 { return &m.SegmentsReceived }),
		u64("send_rate", Varied, func(m *tcp.Metrics) *uint64 { return &m.SendRate }),
		u64("receive_rate", Varied, func(m *tcp.Metrics) *uint64 { return &m.ReceiveRate }),
		u32("send_queue", Repeated, func(m *tcp.Metrics) *uint32 { return &m.SendQueue }),
		u32("recv_queue", Repeated, func(m *tcp.Metrics) *uint32 { return &m.RecvQueue }),
		u32("notsent", Repeated, func(m *tcp.Metrics) *uint32 { return &m.NotSent }),
		u32("unacked", Repeated, func(m *tcp.Metrics) *uint32 { return &m.Unacked }),
		u32("rtt_us", Varied, func(m *tcp.Metrics) *uint32 { return &m.RTT }),
		u32("rttvar_us", Varied, func(m *tcp.Metrics) *uint32 { return &m.RTTVar }),
		u32("min_rtt_us", Varied, func(m *tcp.Metrics) *uint32 { return &m.MinRTT }),
		u32("rto_us", Repeated, func(m *tcp.Metrics) *uint32 { return &m.RTO }),
		u32("mss", Repeated, func(m *tcp.Metrics) *uint32 { return &m.MSS }),
		u32("pmtu", Repeated, func(m *tcp.Metrics) *uint32 { return &m.PMTU }),
		u32("retransmits", Repeated, func(m *tcp.Metrics) *uint32 { return &m.Retransmits }),
		u64("bytes_retransmitted", Repeated, func(m *tcp.Metrics) *uint64 { return &m.BytesRetransmitted }),
		u32("lost", Repeated, func(m *tcp.Metrics) *uint32 { return &m.Lost }),
		u32("reordering", Repeated, func(m *tcp.Metrics) *uint32 { return &m.Reordering }),
		u32("dsack_dups", Repeated, func(m *tcp.Metrics) *uint32 { return &m.DSACKDups }),
		u32("ooo_received", Repeated, func(m *tcp.Metrics) *uint32 { return &m.OOOReceived }),
		u32("ecn_ce", Repeated, func(m *tcp.Metrics) *uint32 { return &m.ECNCE }),
		u32("cwnd", Repeated, func(m *tcp.Metrics) *uint32 { return &m.CWND }),
		u32("ssthresh", Repeated, func(m *tcp.Metrics) *uint32 { return &m.SSThresh }),
		u32("snd_wnd", Repeated, func(m *tcp.Metrics) *uint32 { return &m.SndWnd }),
		u32("rcv_wnd", Repeated, func(m *tcp.Metrics) *uint32 { return &m.RcvWnd }),
		u64("delivery_rate", Varied, func(m *tcp.Metrics) *uint64 { return &m.DeliveryRate }),
		u64("pacing_rate", Varied, func(m *tcp.Metrics) *uint64 { return &m.PacingRate }),
		u64("busy_us", Varied, func(m *tcp.Metrics) *uint64 { return &m.Busy }),
		u64("rwnd_limited_us", Repeated, func(m *tcp.Metrics) *uint64 { return &m.RwndLimited }),
		u64("sndbuf_limited_us", Repeated, func(m *tcp.Metrics) *uint64 { return &m.SndbufLimited }),
	}
	flag := func(name string, set func(*tcp.Metrics, uint64)) Column[Record] {
		tag++
		return field(tag, name, Uint16, Repeated, func(r *Record, v uint64) { set(&r.conn().Metrics, v) })
	}
	cs = append(cs,
		flag("recoveries", func(m *tcp.Metrics, v uint64) { m.Recoveries = uint16(v) }),
		flag("timeouts", func(m *tcp.Metrics, v uint64) { m.Timeouts = uint16(v) }))
	limited := flag("app_limited", func(m *tcp.Metrics, v uint64) { m.AppLimited = v != 0 })
	limited.Type = Bool
	tag++
	ca := enumField(tag, "congestion_state", func(r *Record, v tcp.CAState) {
		r.conn().Has |= tcp.HasCAState
		r.Conn.Metrics.CAState = v
	})
	tag++
	cc := textField(tag, "congestion_control", func(r *Record, v string) {
		r.conn().Has |= tcp.HasCC
		r.Conn.Metrics.CC = tcp.MakeCC(v)
	})
	return append(cs, limited, ca, cc)
}

// deltaColumns are unknown where a counter shows the time that the row covers by
// itself, which is nearly everywhere.
func deltaColumns() []Column[Record] {
	var cs []Column[Record]
	for i, info := range counters {
		cs = append(cs, Column[Record]{
			Tag: tagDeltas + uint16(i), Name: info.field + "_delta", Type: Uint64, Hint: Repeated, Part: PartDeltas,
			Num: func(r *Record) (uint64, bool) {
				if r.Deltas == nil || r.Conn.Has&info.bit == 0 {
					return 0, false
				}
				return r.Deltas[i], true
			},
			SetNum: func(r *Record, v uint64) { r.deltas()[i] = v },
		})
	}
	return cs
}
