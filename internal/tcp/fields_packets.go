package tcp

// packetFields are the fields that only packets can fill. Each two-sided count
// is three fields: NAME_sent, NAME_received and, for filters and totals, NAME.
func packetFields() []*Field {
	var fs []*Field
	sided := func(base, column, doc string, kind Kind, get func(*PacketStats) [2]uint64, total bool) {
		side := func(i int) func(*Conn) (uint64, bool) {
			return packet(func(p *PacketStats) uint64 { return get(p)[i] })
		}
		fs = append(fs,
			&Field{Name: base + "_sent", Group: GroupPackets, Kind: kind, Column: column + "TX", Doc: doc + ", sent by the local end.", Num: side(0)},
			&Field{Name: base + "_received", Group: GroupPackets, Kind: kind, Column: column + "RX", Doc: doc + ", sent by the remote end.", Num: side(1)})
		if total {
			fs = append(fs, &Field{
				Name: base, Group: GroupPackets, Kind: kind, Column: column, Doc: doc + ", both ends.",
				Num: packet(func(p *PacketStats) uint64 { v := get(p); return v[0] + v[1] }),
			})
		}
	}
	count := func(base, column, doc string, get func(*PacketStats) [2]uint32) {
		sided(base, column, doc, KindUint, func(p *PacketStats) [2]uint64 {
			v := get(p)
			return [2]uint64{uint64(v[0]), uint64(v[1])}
		}, true)
	}
	fs = append(fs, &Field{
		Name: "stream", Group: GroupPackets, Kind: KindUint, Column: "STREAM",
		Doc: "Number of the connection in its capture, in order of first packet, from 0 (Wireshark tcp.stream).",
		Num: packet(func(p *PacketStats) uint64 { return uint64(p.Stream) }),
	})
	sided("packets", "PKT", "TCP packets captured", KindUint, func(p *PacketStats) [2]uint64 { return p.Packets }, false)
	sided("wire_bytes", "WIRE", "Bytes on the wire, headers included", KindBytes, func(p *PacketStats) [2]uint64 { return p.WireBytes }, false)
	fs = append(fs, &Field{
		Name: "initial_rtt_us", Short: "initial_rtt", Group: GroupPackets, Kind: KindDuration, Column: "IRTT",
		Doc: "Time from the SYN to the ACK that ends the handshake (Wireshark iRTT).",
		Num: func(c *Conn) (uint64, bool) {
			if c.Packets == nil || c.Packets.InitialRTT == 0 {
				return 0, false
			}
			return uint64(c.Packets.InitialRTT), true
		},
	})
	count("retransmissions", "RETX", "Segments judged retransmissions", func(p *PacketStats) [2]uint32 { return p.Retransmissions })
	count("fast_retransmissions", "FASTRETX", "Fast retransmissions", func(p *PacketStats) [2]uint32 { return p.FastRetransmissions })
	count("spurious_retransmissions", "SPURRETX", "Spurious retransmissions", func(p *PacketStats) [2]uint32 { return p.SpuriousRetransmissions })
	count("out_of_order", "OOOPKT", "Segments out of order", func(p *PacketStats) [2]uint32 { return p.OutOfOrder })
	count("dup_acks", "DUPACK", "Duplicate acknowledgements", func(p *PacketStats) [2]uint32 { return p.DupAcks })
	count("lost_segments", "LOSTSEG", "Gaps before a segment that the capture does not show", func(p *PacketStats) [2]uint32 { return p.LostSegments })
	count("zero_windows", "ZWIN", "Segments advertising a zero window", func(p *PacketStats) [2]uint32 { return p.ZeroWindows })
	count("window_full", "WFULL", "Segments that filled the peer's window", func(p *PacketStats) [2]uint32 { return p.WindowFull })
	count("keep_alives", "KALIVE", "Keep-alive probes", func(p *PacketStats) [2]uint32 { return p.KeepAlives })
	count("resets", "RST", "Segments with RST", func(p *PacketStats) [2]uint32 { return p.Resets })
	count("fins", "FIN", "Segments with FIN", func(p *PacketStats) [2]uint32 { return p.FINs })
	count("syns", "SYN", "Segments with SYN", func(p *PacketStats) [2]uint32 { return p.SYNs })
	count("reordered", "OVERTAKEN", "Segments judged overtaken by later ones on the way", func(p *PacketStats) [2]uint32 { return p.Reordered })
	count("network_duplicates", "NETDUP", "Packets judged copies made by the network", func(p *PacketStats) [2]uint32 { return p.NetworkDuplicates })
	fs = append(fs, packetRTTs()...)
	bytes := func(base, column, doc string, get func(*PacketStats) [2]uint32) {
		sided(base, column, doc, KindBytes, func(p *PacketStats) [2]uint64 {
			v := get(p)
			return [2]uint64{uint64(v[0]), uint64(v[1])}
		}, false)
	}
	bytes("in_flight_max", "FLIGHT", "Most bytes unacknowledged at a time", func(p *PacketStats) [2]uint32 { return p.InFlightMax })
	bytes("window_min", "WINMIN", "Smallest window advertised, scaled", func(p *PacketStats) [2]uint32 { return p.WindowMin })
	bytes("window_max", "WINMAX", "Largest window advertised, scaled", func(p *PacketStats) [2]uint32 { return p.WindowMax })
	for i, side := range packetSides {
		fs = append(fs, &Field{
			Name: "idle_max" + side.suffix + "_us", Short: "idle_max" + side.suffix, Group: GroupPackets, Kind: KindDuration, Column: "IDLE" + side.column,
			Doc: "Longest time between two packets sent by the " + side.end + " end.",
			Num: packet(func(p *PacketStats) uint64 { return p.IdleMax[i] }),
		})
	}
	return append(fs,
		&Field{
			Name: "conn_state", Group: GroupPackets, Kind: KindString, Column: "CONNSTATE",
			Doc: "Zeek's conn_state of the connection (S0, SF, REJ, …).",
			Str: packetStr(func(p *PacketStats) string { return p.ConnState }),
		},
		&Field{
			Name: "history", Group: GroupPackets, Kind: KindString, Column: "HISTORY",
			Doc: "Zeek's history of the connection, a letter an event.",
			Str: packetStr(func(p *PacketStats) string { return p.History }),
		},
		&Field{
			Name: "completeness", Group: GroupPackets, Kind: KindUint, Column: "COMPL",
			Doc: "Wireshark's conversation completeness, a bit set.",
			Num: packet(func(p *PacketStats) uint64 { return uint64(p.Completeness) }),
		},
	)
}

// packetSides are the two ends as names of fields have them.
var packetSides = [2]struct{ suffix, column, end string }{
	{"_sent", "TX", "local"}, {"_received", "RX", "remote"},
}

// packetRTTs are the round trip times by who sent the data.
func packetRTTs() (fs []*Field) {
	for _, t := range [...]struct {
		name, column, doc string
		get               func(*PacketStats) *[2]uint32
	}{
		{"min", "MIN", "Shortest time", func(p *PacketStats) *[2]uint32 { return &p.RTTMin }},
		{"avg", "AVG", "Mean time", func(p *PacketStats) *[2]uint32 { return &p.RTTAvg }},
		{"p50", "P50", "Median time (within 3.2 %)", func(p *PacketStats) *[2]uint32 { return &p.RTTP50 }},
		{"p95", "P95", "95th percentile of the time (within 3.2 %)", func(p *PacketStats) *[2]uint32 { return &p.RTTP95 }},
		{"max", "MAX", "Longest time", func(p *PacketStats) *[2]uint32 { return &p.RTTMax }},
	} {
		for i, side := range packetSides {
			name := "rtt_" + t.name + side.suffix
			fs = append(fs, &Field{
				Name: name + "_us", Short: name, Group: GroupPackets, Kind: KindDuration, Column: "RTT" + t.column + side.column,
				Doc: t.doc + " until data of the " + side.end + " end was acknowledged, by Karn's rule.",
				Num: func(c *Conn) (uint64, bool) {
					if c.Packets == nil || c.Packets.RTTSamples[i] == 0 {
						return 0, false
					}
					return uint64(t.get(c.Packets)[i]), true
				},
			})
		}
	}
	return fs
}

func packet(get func(*PacketStats) uint64) func(*Conn) (uint64, bool) {
	return func(c *Conn) (uint64, bool) {
		if c.Packets == nil {
			return 0, false
		}
		return get(c.Packets), true
	}
}

func packetStr(get func(*PacketStats) string) func(*Conn) (string, bool) {
	return func(c *Conn) (string, bool) {
		if c.Packets == nil {
			return "", false
		}
		s := get(c.Packets)
		return s, s != ""
	}
}
