package store

import "github.com/viewtcp/viewtcp/internal/tcp"

// packetColumns are what only captured packets show. The order of the lists is
// the numbering of the columns: append only.
func packetColumns() []Column[Record] {
	var cs []Column[Record]
	var tag uint16 = tagPackets - 1
	add := func(name string, typ Type, set func(*tcp.PacketStats, uint64)) {
		tag++
		c := field(tag, name, typ, Repeated, func(r *Record, v uint64) { set(r.packets(), v) })
		get := c.Num
		c.Part = PartPackets
		c.Num = func(r *Record) (uint64, bool) {
			if r.Conn.Packets == nil {
				return 0, false
			}
			return get(r)
		}
		cs = append(cs, c)
	}
	sides := [2]string{"_sent", "_received"}
	sided32 := func(name, unit string, at func(*tcp.PacketStats) *[2]uint32) {
		for i, side := range sides {
			add(name+side+unit, Uint32, func(p *tcp.PacketStats, v uint64) { at(p)[i] = uint32(v) })
		}
	}
	sided64 := func(name, unit string, at func(*tcp.PacketStats) *[2]uint64) {
		for i, side := range sides {
			add(name+side+unit, Uint64, func(p *tcp.PacketStats, v uint64) { at(p)[i] = v })
		}
	}
	sided64("packets", "", func(p *tcp.PacketStats) *[2]uint64 { return &p.Packets })
	sided64("wire_bytes", "", func(p *tcp.PacketStats) *[2]uint64 { return &p.WireBytes })
	add("initial_rtt_us", Uint32, func(p *tcp.PacketStats, v uint64) { p.InitialRTT = uint32(v) })
	sided32("retransmissions", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.Retransmissions })
	sided32("fast_retransmissions", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.FastRetransmissions })
	sided32("spurious_retransmissions", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.SpuriousRetransmissions })
	sided32("out_of_order", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.OutOfOrder })
	sided32("dup_acks", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.DupAcks })
	sided32("lost_segments", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.LostSegments })
	sided32("zero_windows", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.ZeroWindows })
	sided32("window_full", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.WindowFull })
	sided32("keep_alives", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.KeepAlives })
	sided32("resets", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.Resets })
	sided32("fins", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.FINs })
	sided32("syns", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.SYNs })
	sided32("reordered", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.Reordered })
	sided32("network_duplicates", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.NetworkDuplicates })
	for _, rtt := range [...]struct {
		name string
		at   func(*tcp.PacketStats) *[2]uint32
	}{
		{"rtt_min", func(p *tcp.PacketStats) *[2]uint32 { return &p.RTTMin }},
		{"rtt_avg", func(p *tcp.PacketStats) *[2]uint32 { return &p.RTTAvg }},
		{"rtt_p50", func(p *tcp.PacketStats) *[2]uint32 { return &p.RTTP50 }},
		{"rtt_p95", func(p *tcp.PacketStats) *[2]uint32 { return &p.RTTP95 }},
		{"rtt_max", func(p *tcp.PacketStats) *[2]uint32 { return &p.RTTMax }},
	} {
		for i, side := range sides {
			// How many samples there were is not kept, only that there were some.
			add(rtt.name+side+"_us", Uint32, func(p *tcp.PacketStats, v uint64) {
				rtt.at(p)[i], p.RTTSamples[i] = uint32(v), 1
			})
		}
	}
	sided32("in_flight_max", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.InFlightMax })
	sided32("window_min", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.WindowMin })
	sided32("window_max", "", func(p *tcp.PacketStats) *[2]uint32 { return &p.WindowMax })
	sided64("idle_max", "_us", func(p *tcp.PacketStats) *[2]uint64 { return &p.IdleMax })
	add("completeness", Uint16, func(p *tcp.PacketStats, v uint64) { p.Completeness = uint8(v) })
	addText := func(name string, at func(*tcp.PacketStats) *string) {
		tag++
		c := textField(tag, name, func(r *Record, v string) { *at(r.packets()) = v })
		c.Part = PartPackets
		cs = append(cs, c)
	}
	addText("conn_state", func(p *tcp.PacketStats) *string { return &p.ConnState })
	addText("history", func(p *tcp.PacketStats) *string { return &p.History })
	tag++
	return append(cs, Column[Record]{
		Tag: tag, Name: "tcp_flags", Type: Uint16, Hint: Repeated, Part: PartPackets,
		Num: func(r *Record) (uint64, bool) {
			if r.Conn.Packets == nil {
				return 0, false
			}
			return uint64(r.Conn.Packets.Flags), true
		},
		SetNum: func(r *Record, v uint64) { r.packets().Flags = uint16(v) },
	})
}
