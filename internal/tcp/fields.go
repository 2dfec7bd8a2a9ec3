package tcp

// registry is the one list of fields. Adding a field is one entry.
var registry = append(socketFields, packetFields()...)

var socketFields = []*Field{
	// Identity.
	{
		Name: "id", Group: GroupIdentity, Kind: KindID, Column: "ID",
		Doc: "Name of the connection for the life of a store: a hash of boot id, network namespace and socket cookie. IDs of source procfs are unstable: they end with the program.",
		Num: func(c *Conn) (uint64, bool) { return uint64(c.ID), c.ID != 0 },
	},
	{
		Name: "peer_id", Group: GroupIdentity, Kind: KindID, Column: "PEER",
		Doc: "ID of the other end, when it is on this host too.",
		Num: func(c *Conn) (uint64, bool) { return uint64(c.PeerID), c.PeerID != 0 },
	},
	{
		Name: "host", Group: GroupIdentity, Kind: KindString, Column: "HOST",
		Doc: "Name of the host that saw the connection.",
		Str: name(func(n *Names) string { return n.Host }),
	},
	{
		Name: "netns", Group: GroupIdentity, Kind: KindUint, Column: "NETNS",
		Doc: "Network namespace: the inode number in /proc/PID/ns/net.",
		Num: func(c *Conn) (uint64, bool) { return uint64(c.NetNS), c.NetNS != 0 },
	},
	{
		Name: "cookie", Group: GroupIdentity, Kind: KindCookie, Column: "COOKIE",
		Doc: "The kernel's socket cookie (SO_COOKIE), never reused during a boot.",
		Bit: HasCookie, Num: metric(HasCookie, func(c *Conn) uint64 { return c.Cookie }),
	},
	{
		Name: "inode", Group: GroupIdentity, Kind: KindUint, Column: "INODE",
		Doc: "Inode number of the socket's file, as in /proc/PID/fd; absent for sockets without a file.",
		Bit: HasInode, Num: metric(HasInode, func(c *Conn) uint64 { return uint64(c.Inode) }),
	},
	{
		Name: "family", Group: GroupIdentity, Kind: KindEnum, Column: "FAMILY", Enum: []string{"ipv4", "ipv6"},
		Doc: "IP version of the connection's packets; an IPv4 peer of an IPv6 socket is ipv4.",
		Str: func(c *Conn) (string, bool) { return family(c), true },
	},
	{
		Name: "direction", Short: "dir", Group: GroupIdentity, Kind: KindEnum, Column: "DIR", Enum: directionNames,
		Doc: "Which end opened the connection: inbound, outbound, listen, transit (forwarded) or unknown.",
		Str: func(c *Conn) (string, bool) { return c.Direction.String(), true },
	},
	{
		Name: "source", Group: GroupIdentity, Kind: KindEnum, Column: "SOURCE", Enum: sourceNames[1:],
		Doc: "Where the values come from: ebpf, netlink, procfs or capture.",
		Str: func(c *Conn) (string, bool) { return c.Source.String(), c.Source != SourceUnknown },
	},
	{
		Name: "observer", Group: GroupIdentity, Kind: KindString, Column: "OBSERVER",
		Doc: "Capture point that saw the connection, when it was not a socket of this host.",
		Str: name(func(n *Names) string { return n.Observer }),
	},
	{
		Name: "interface", Group: GroupIdentity, Kind: KindString, Column: "IFACE",
		Doc: "Network interface the packets were seen on.",
		Str: name(func(n *Names) string { return n.Interface }),
	},
	{
		Name: "complete", Group: GroupIdentity, Kind: KindBool, Column: "COMPLETE",
		Doc: "False when something of the connection was lost or cannot be known exactly.",
		Num: func(c *Conn) (uint64, bool) { return truth(c.Complete), true },
	},
	{
		Name: "sample_rate", Group: GroupIdentity, Kind: KindUint, Column: "SAMPLE",
		Doc: "n where one in n connections is recorded.",
		Num: nameNum(func(n *Names) uint64 { return uint64(n.SampleRate) }),
	},

	// Ends.
	{
		Name: "local_ip", Aliases: []string{"local_addr"}, Group: GroupEnds, Kind: KindAddr, Column: "LOCAL",
		Doc:  "Address of the end on this host.",
		Addr: func(c *Conn) (Addr, bool) { return c.Local, true },
	},
	{
		Name: "local_port", Aliases: []string{"lport"}, Group: GroupEnds, Kind: KindPort, Column: "LPORT",
		Doc: "Port of the end on this host; unknown until the kernel has chosen one.",
		Num: func(c *Conn) (uint64, bool) { return uint64(c.LocalPort), c.LocalPort != 0 },
	},
	{
		Name: "remote_ip", Aliases: []string{"remote_addr"}, Group: GroupEnds, Kind: KindAddr, Column: "REMOTE",
		Doc:  "Address of the other end; absent for listeners.",
		Addr: func(c *Conn) (Addr, bool) { return c.Remote, c.State != Listen },
	},
	{
		Name: "remote_port", Aliases: []string{"rport"}, Group: GroupEnds, Kind: KindPort, Column: "RPORT",
		Doc: "Port of the other end; absent for listeners.",
		Num: func(c *Conn) (uint64, bool) { return uint64(c.RemotePort), c.RemotePort != 0 },
	},
	{
		Name: "remote_name", Group: GroupEnds, Kind: KindString, Column: "NAME",
		Doc: "Name of the remote address by reverse DNS (only with --resolve) or from DNS answers seen.",
		Str: name(func(n *Names) string { return n.RemoteName }),
	},
	{
		Name: "sni", Group: GroupEnds, Kind: KindString, Column: "SNI",
		Doc: "Server name in the TLS ClientHello (RFC 6066, section 3).",
		Str: name(func(n *Names) string { return n.SNI }),
	},
	{
		Name: "alpn", Group: GroupEnds, Kind: KindString, Column: "ALPN",
		Doc: "Application protocols offered in the TLS ClientHello (RFC 7301).",
		Str: name(func(n *Names) string { return n.ALPN }),
	},
	{
		Name: "http_host", Group: GroupEnds, Kind: KindString, Column: "HTTP",
		Doc: "Host header of the first clear-text HTTP request.",
		Str: name(func(n *Names) string { return n.HTTPHost }),
	},
	{
		Name: "service", Group: GroupEnds, Kind: KindString, Column: "SERVICE",
		Doc: "Service the connection belongs to: the listener's unit, container or process; for outbound connections the well-known name of the remote port.",
		Str: name(func(n *Names) string { return n.Service }),
	},
	{
		Name: "country", Group: GroupEnds, Kind: KindString, Column: "CC",
		Doc: "Country of the remote address, two letters (ISO 3166-1), from the user's GeoIP file.",
		Str: name(func(n *Names) string { return n.Country }),
	},
	{
		Name: "asn", Group: GroupEnds, Kind: KindUint, Column: "ASN",
		Doc: "Autonomous system number of the remote address, from the user's GeoIP file.",
		Num: nameNum(func(n *Names) uint64 { return uint64(n.ASN) }),
	},
	{
		Name: "as_org", Group: GroupEnds, Kind: KindString, Column: "ASORG",
		Doc: "Organisation of the autonomous system.",
		Str: name(func(n *Names) string { return n.ASOrg }),
	},
	{
		Name: "nat_remote_ip", Group: GroupEnds, Kind: KindAddr, Column: "NATREMOTE",
		Doc: "Remote address after address translation on this host (conntrack).",
		Addr: func(c *Conn) (Addr, bool) {
			if c.Names == nil || c.Names.NATPort == 0 {
				return Addr{}, false
			}
			return c.Names.NATRemote, true
		},
	},
	{
		Name: "nat_remote_port", Group: GroupEnds, Kind: KindPort, Column: "NATPORT",
		Doc: "Remote port after address translation on this host (conntrack).",
		Num: nameNum(func(n *Names) uint64 { return uint64(n.NATPort) }),
	},

	// Process.
	{
		Name: "pid", Group: GroupProcess, Kind: KindUint, Column: "PID", Table: 9, Drop: 13,
		Doc: "Process id, as seen in ViewTCP's own pid namespace.",
		Num: func(c *Conn) (uint64, bool) {
			if c.Process == nil || c.Process.PID == 0 {
				return 0, false
			}
			return uint64(c.Process.PID), true
		},
	},
	{
		Name: "process", Aliases: []string{"comm"}, Group: GroupProcess, Kind: KindString, Column: "PROCESS", Table: 10, Drop: 14,
		Doc: "Name of the process (the kernel's comm, at most 15 bytes).",
		Str: process(func(p *Process) string { return p.Name }),
	},
	{
		Name: "exe", Group: GroupProcess, Kind: KindString, Column: "EXE",
		Doc: "Path of the program, from /proc/PID/exe.",
		Str: process(func(p *Process) string { return p.Exe }),
	},
	{
		Name: "cmdline", Group: GroupProcess, Kind: KindString, Column: "CMDLINE",
		Doc: "Command line; the values of arguments that look like secrets are masked.",
		Str: process(func(p *Process) string { return p.Cmdline }),
	},
	{
		Name: "uid", Group: GroupProcess, Kind: KindUint, Column: "UID",
		Doc: "User id that owns the socket.",
		Bit: HasUID, Num: metric(HasUID, func(c *Conn) uint64 { return uint64(c.UID) }),
	},
	{
		Name: "user", Group: GroupProcess, Kind: KindString, Column: "USER",
		Doc: "Name of the process's user.",
		Str: process(func(p *Process) string { return p.User }),
	},
	{
		Name: "container", Group: GroupProcess, Kind: KindString, Column: "CONTAINER",
		Doc: "Container of the process, from its cgroup: the first 12 characters of the id, or its name.",
		Str: process(func(p *Process) string { return p.Container }),
	},
	{
		Name: "unit", Group: GroupProcess, Kind: KindString, Column: "UNIT",
		Doc: "systemd unit of the process, from its cgroup.",
		Str: process(func(p *Process) string { return p.Unit }),
	},
	{
		Name: "cgroup", Group: GroupProcess, Kind: KindString, Column: "CGROUP",
		Doc: "Control group of the process.",
		Str: process(func(p *Process) string { return p.Cgroup }),
	},
	{
		Name: "attribution", Group: GroupProcess, Kind: KindEnum, Column: "ATTR", Enum: attributionNames,
		Doc: "How the process is known: exact (seen using the socket), inherited (owns the listener), scan (held the socket when processes were looked through) or unknown.",
		Str: func(c *Conn) (string, bool) { return c.Attribution.String(), true },
	},

	// Life.
	{
		Name: "state", Group: GroupLife, Kind: KindState, Column: "STATE", Table: 1, Drop: 17,
		Doc: "State (RFC 9293, section 3.3.2).",
		Num: func(c *Conn) (uint64, bool) { return uint64(c.State), c.State != StateUnknown },
	},
	{
		Name: "opened", Group: GroupLife, Kind: KindTime, Column: "OPENED",
		Doc: "When the SYN was sent or received; absent when the connection is older than the observation.",
		Num: stamp(func(c *Conn) Stamp { return c.Opened }),
	},
	{
		Name: "opened_exact", Group: GroupLife, Kind: KindBool, Column: "EXACT",
		Doc: "True when the opening was seen, false when opened is the first dump that showed the connection.",
		Num: func(c *Conn) (uint64, bool) { return truth(c.OpenedExact), !c.Opened.IsZero() },
	},
	{
		Name: "closed", Group: GroupLife, Kind: KindTime, Column: "CLOSED",
		Doc: "When the full socket ended.",
		Num: stamp(func(c *Conn) Stamp { return c.Closed }),
	},
	{
		Name: "duration_us", Short: "duration", Aliases: []string{"age"}, Group: GroupLife, Kind: KindDuration, Column: "AGE", Table: 8, Drop: 6,
		Doc: "Time from opened to closed, or until now.",
		Num: func(c *Conn) (uint64, bool) {
			d, ok := c.Duration()
			return uint64(d.Microseconds()), ok
		},
	},
	{
		Name: "handshake_us", Short: "handshake", Group: GroupLife, Kind: KindDuration, Column: "HANDSHAKE",
		Doc: "Outbound: SYN to ESTABLISHED. Inbound: SYN-ACK to its ACK.",
		Bit: HasHandshake, Num: metric(HasHandshake, func(c *Conn) uint64 { return uint64(c.Handshake) }),
	},
	{
		Name: "closed_by", Group: GroupLife, Kind: KindEnum, Column: "CLOSEDBY", Enum: sideNames[1:],
		Doc: "End that closed first: whose FIN or RST came first.",
		Str: func(c *Conn) (string, bool) { return c.ClosedBy.String(), c.ClosedBy != SideUnknown },
	},
	{
		Name: "close_reason", Group: GroupLife, Kind: KindEnum, Column: "REASON", Enum: closeReasonNames[1:],
		Doc: "How the connection ended: fin, rst_sent, rst_received, refused, timeout, unreachable or aborted.",
		Str: func(c *Conn) (string, bool) { return c.Reason.String(), c.Reason != CloseUnknown },
	},

	// Volume.
	{
		Name: "bytes_sent", Aliases: []string{"tx"}, Group: GroupVolume, Kind: KindBytes, Column: "TX", Table: 6, Drop: 10,
		Doc: "Payload bytes transmitted at least once (tcp_info bytes_sent less bytes_retrans).",
		Bit: HasBytesSent, Num: metric(HasBytesSent, func(c *Conn) uint64 { return c.Metrics.BytesSent }),
	},
	{
		Name: "bytes_received", Aliases: []string{"rx"}, Group: GroupVolume, Kind: KindBytes, Column: "RX", Table: 7, Drop: 11,
		Doc: "Payload bytes received in order (tcp_info bytes_received, FIN not counted). The final record of source netlink may be one high: complete is false then.",
		Bit: HasBytesReceived, Num: metric(HasBytesReceived, func(c *Conn) uint64 { return c.Metrics.BytesReceived }),
	},
	{
		Name: "bytes_missed", Group: GroupVolume, Kind: KindBytes, Column: "MISSED",
		Doc: "Payload bytes that acknowledgements imply but the capture did not show.",
		Bit: HasBytesMissed, Num: metric(HasBytesMissed, func(c *Conn) uint64 { return c.Metrics.BytesMissed }),
	},
	{
		Name: "segments_sent", Group: GroupVolume, Kind: KindUint, Column: "SEGTX",
		Doc: "Segments sent, retransmissions included (tcp_info segs_out).",
		Bit: HasSegmentsSent, Num: metric(HasSegmentsSent, func(c *Conn) uint64 { return uint64(c.Metrics.SegmentsSent) }),
	},
	{
		Name: "segments_received", Group: GroupVolume, Kind: KindUint, Column: "SEGRX",
		Doc: "Segments received (tcp_info segs_in).",
		Bit: HasSegmentsReceived, Num: metric(HasSegmentsReceived, func(c *Conn) uint64 { return uint64(c.Metrics.SegmentsReceived) }),
	},
	{
		Name: "send_rate", Group: GroupVolume, Kind: KindRate, Column: "TX/s",
		Doc: "Payload sent per second between the last two observations.",
		Bit: HasSendRate, Num: metric(HasSendRate, func(c *Conn) uint64 { return c.Metrics.SendRate }),
	},
	{
		Name: "receive_rate", Group: GroupVolume, Kind: KindRate, Column: "RX/s",
		Doc: "Payload received per second between the last two observations.",
		Bit: HasReceiveRate, Num: metric(HasReceiveRate, func(c *Conn) uint64 { return c.Metrics.ReceiveRate }),
	},
	{
		Name: "send_queue", Aliases: []string{"sendq"}, Group: GroupVolume, Kind: KindBytes, Column: "SENDQ", Table: 3, Drop: 4,
		Doc: "Bytes written by the application and not yet acknowledged (ss Send-Q).",
		Bit: HasSendQueue, Num: metric(HasSendQueue, func(c *Conn) uint64 { return uint64(c.Metrics.SendQueue) }),
	},
	{
		Name: "recv_queue", Aliases: []string{"recvq"}, Group: GroupVolume, Kind: KindBytes, Column: "RECVQ", Table: 2, Drop: 3,
		Doc: "Bytes received and not yet read by the application (ss Recv-Q).",
		Bit: HasRecvQueue, Num: metric(HasRecvQueue, func(c *Conn) uint64 { return uint64(c.Metrics.RecvQueue) }),
	},
	{
		Name: "notsent", Group: GroupVolume, Kind: KindBytes, Column: "NOTSENT",
		Doc: "Bytes written and never transmitted yet (tcp_info notsent_bytes).",
		Bit: HasNotSent, Num: metric(HasNotSent, func(c *Conn) uint64 { return uint64(c.Metrics.NotSent) }),
	},
	{
		Name: "unacked", Group: GroupVolume, Kind: KindUint, Column: "UNACKED",
		Doc: "Segments in flight (tcp_info unacked).",
		Bit: HasUnacked, Num: metric(HasUnacked, func(c *Conn) uint64 { return uint64(c.Metrics.Unacked) }),
	},
	{
		Name: "accept_queue", Group: GroupVolume, Kind: KindUint, Column: "ACCEPTQ",
		Doc: "Connections of a listener that wait for accept (ss Recv-Q of a LISTEN socket).",
		Bit: HasAcceptQueue, Num: metric(HasAcceptQueue, func(c *Conn) uint64 { return uint64(c.Metrics.AcceptQueue) }),
	},
	{
		Name: "backlog", Group: GroupVolume, Kind: KindUint, Column: "BACKLOG",
		Doc: "Most connections the accept queue holds (ss Send-Q of a LISTEN socket).",
		Bit: HasBacklog, Num: metric(HasBacklog, func(c *Conn) uint64 { return uint64(c.Metrics.Backlog) }),
	},

	// Path.
	{
		Name: "rtt_us", Short: "rtt", Group: GroupPath, Kind: KindDuration, Column: "RTT", Table: 4, Drop: 9,
		Doc: "Smoothed round-trip time (tcp_info rtt).",
		Bit: HasRTT, Num: metric(HasRTT, func(c *Conn) uint64 { return uint64(c.Metrics.RTT) }),
	},
	{
		Name: "rttvar_us", Short: "rttvar", Group: GroupPath, Kind: KindDuration, Column: "RTTVAR",
		Doc: "Mean deviation of the round-trip time (tcp_info rttvar).",
		Bit: HasRTT, Num: metric(HasRTT, func(c *Conn) uint64 { return uint64(c.Metrics.RTTVar) }),
	},
	{
		Name: "min_rtt_us", Short: "min_rtt", Aliases: []string{"minrtt"}, Group: GroupPath, Kind: KindDuration, Column: "MINRTT",
		Doc: "Lowest round-trip time in the kernel's window (tcp_info min_rtt).",
		Bit: HasMinRTT, Num: metric(HasMinRTT, func(c *Conn) uint64 { return uint64(c.Metrics.MinRTT) }),
	},
	{
		Name: "rto_us", Short: "rto", Group: GroupPath, Kind: KindDuration, Column: "RTO",
		Doc: "Retransmission timeout in force (tcp_info rto).",
		Bit: HasRTO, Num: metric(HasRTO, func(c *Conn) uint64 { return uint64(c.Metrics.RTO) }),
	},
	{
		Name: "mss", Group: GroupPath, Kind: KindBytes, Column: "MSS",
		Doc: "Sending maximum segment size (tcp_info snd_mss).",
		Bit: HasMSS, Num: metric(HasMSS, func(c *Conn) uint64 { return uint64(c.Metrics.MSS) }),
	},
	{
		Name: "pmtu", Group: GroupPath, Kind: KindBytes, Column: "PMTU",
		Doc: "Path MTU (tcp_info pmtu).",
		Bit: HasPMTU, Num: metric(HasPMTU, func(c *Conn) uint64 { return uint64(c.Metrics.PMTU) }),
	},
	{
		Name: "retransmits", Aliases: []string{"retrans"}, Group: GroupPath, Kind: KindUint, Column: "RETR", Table: 5, Drop: 8,
		Doc: "Segments sent again over the connection's life (tcp_info total_retrans).",
		Bit: HasRetransmits, Num: metric(HasRetransmits, func(c *Conn) uint64 { return uint64(c.Metrics.Retransmits) }),
	},
	{
		Name: "bytes_retransmitted", Aliases: []string{"bytes_retrans"}, Group: GroupPath, Kind: KindBytes, Column: "RETRBYTES",
		Doc: "Payload bytes sent again (tcp_info bytes_retrans).",
		Bit: HasBytesRetransmitted, Num: metric(HasBytesRetransmitted, func(c *Conn) uint64 { return c.Metrics.BytesRetransmitted }),
	},
	{
		Name: "lost", Group: GroupPath, Kind: KindUint, Column: "LOST",
		Doc: "Segments in flight now thought lost (tcp_info lost); a gauge, not a total.",
		Bit: HasLost, Num: metric(HasLost, func(c *Conn) uint64 { return uint64(c.Metrics.Lost) }),
	},
	{
		Name: "reordering", Group: GroupPath, Kind: KindUint, Column: "REORD",
		Doc: "Reordering degree in segments that the sender allows for (tcp_info reordering).",
		Bit: HasReordering, Num: metric(HasReordering, func(c *Conn) uint64 { return uint64(c.Metrics.Reordering) }),
	},
	{
		Name: "dsack_dups", Group: GroupPath, Kind: KindUint, Column: "DSACK",
		Doc: "Duplicate segments that the peer reported (RFC 2883; tcp_info dsack_dups).",
		Bit: HasDSACKDups, Num: metric(HasDSACKDups, func(c *Conn) uint64 { return uint64(c.Metrics.DSACKDups) }),
	},
	{
		Name: "ooo_received", Group: GroupPath, Kind: KindUint, Column: "OOO",
		Doc: "Segments received out of order (tcp_info rcv_ooopack).",
		Bit: HasOOOReceived, Num: metric(HasOOOReceived, func(c *Conn) uint64 { return uint64(c.Metrics.OOOReceived) }),
	},
	{
		Name: "ecn_ce", Group: GroupPath, Kind: KindUint, Column: "CE",
		Doc: "Segments sent that the peer reported as marked Congestion Experienced (RFC 3168; tcp_info delivered_ce).",
		Bit: HasECNCE, Num: metric(HasECNCE, func(c *Conn) uint64 { return uint64(c.Metrics.ECNCE) }),
	},
	{
		Name: "congestion_state", Aliases: []string{"ca_state"}, Group: GroupPath, Kind: KindEnum, Column: "CASTATE", Enum: caStateNames,
		Doc: "State of congestion avoidance: open, disorder (duplicate acknowledgements), cwr (reduced by ECN), recovery or loss (tcp_info ca_state).",
		Bit: HasCAState, Str: func(c *Conn) (string, bool) {
			if c.Has&HasCAState == 0 {
				return "", false
			}
			return c.Metrics.CAState.String(), true
		},
	},
	{
		Name: "recoveries", Group: GroupPath, Kind: KindUint, Column: "RECOV",
		Doc: "Times the sender went into fast recovery, over the connection's life; only source ebpf, for connections whose opening it saw.",
		Bit: HasRecoveries, Num: metric(HasRecoveries, func(c *Conn) uint64 { return uint64(c.Metrics.Recoveries) }),
	},
	{
		Name: "timeouts", Aliases: []string{"rtos"}, Group: GroupPath, Kind: KindUint, Column: "RTOS",
		Doc: "Times the retransmission timer ran out, over the connection's life; only source ebpf, for connections whose opening it saw.",
		Bit: HasRecoveries, Num: metric(HasRecoveries, func(c *Conn) uint64 { return uint64(c.Metrics.Timeouts) }),
	},

	// Windows.
	{
		Name: "cwnd", Group: GroupWindows, Kind: KindUint, Column: "CWND",
		Doc: "Congestion window, segments (tcp_info snd_cwnd).",
		Bit: HasCWND, Num: metric(HasCWND, func(c *Conn) uint64 { return uint64(c.Metrics.CWND) }),
	},
	{
		Name: "ssthresh", Group: GroupWindows, Kind: KindUint, Column: "SSTHRESH",
		Doc: "Slow start threshold, segments; absent while it was never lowered (tcp_info snd_ssthresh).",
		Bit: HasSSThresh, Num: metric(HasSSThresh, func(c *Conn) uint64 { return uint64(c.Metrics.SSThresh) }),
	},
	{
		Name: "snd_wnd", Group: GroupWindows, Kind: KindBytes, Column: "SNDWND",
		Doc: "Window the peer advertised, scaled (tcp_info snd_wnd).",
		Bit: HasSndWnd, Num: metric(HasSndWnd, func(c *Conn) uint64 { return uint64(c.Metrics.SndWnd) }),
	},
	{
		Name: "rcv_wnd", Group: GroupWindows, Kind: KindBytes, Column: "RCVWND",
		Doc: "Window advertised to the peer, scaled (tcp_info rcv_wnd).",
		Bit: HasRcvWnd, Num: metric(HasRcvWnd, func(c *Conn) uint64 { return uint64(c.Metrics.RcvWnd) }),
	},
	{
		Name: "delivery_rate", Group: GroupWindows, Kind: KindRate, Column: "DELIVERY",
		Doc: "The kernel's estimate of goodput (tcp_info delivery_rate).",
		Bit: HasDeliveryRate, Num: metric(HasDeliveryRate, func(c *Conn) uint64 { return c.Metrics.DeliveryRate }),
	},
	{
		Name: "pacing_rate", Group: GroupWindows, Kind: KindRate, Column: "PACING",
		Doc: "Rate that sends are paced at (tcp_info pacing_rate); absent when unlimited.",
		Bit: HasPacingRate, Num: metric(HasPacingRate, func(c *Conn) uint64 { return c.Metrics.PacingRate }),
	},
	{
		Name: "app_limited", Group: GroupWindows, Kind: KindBool, Column: "APPLIM",
		Doc: "True when the application, not the network, bounded delivery_rate.",
		Bit: HasDeliveryRate, Num: metric(HasDeliveryRate, func(c *Conn) uint64 { return truth(c.Metrics.AppLimited) }),
	},
	{
		Name: "busy_us", Short: "busy", Group: GroupWindows, Kind: KindDuration, Column: "BUSY",
		Doc: "Time with data to send (tcp_info busy_time).",
		Bit: HasLimited, Num: metric(HasLimited, func(c *Conn) uint64 { return c.Metrics.Busy }),
	},
	{
		Name: "rwnd_limited_us", Short: "rwnd_limited", Group: GroupWindows, Kind: KindDuration, Column: "RWNDLIM",
		Doc: "Time stalled by the peer's receive window (tcp_info rwnd_limited).",
		Bit: HasLimited, Num: metric(HasLimited, func(c *Conn) uint64 { return c.Metrics.RwndLimited }),
	},
	{
		Name: "sndbuf_limited_us", Short: "sndbuf_limited", Group: GroupWindows, Kind: KindDuration, Column: "SNDBUFLIM",
		Doc: "Time stalled by the send buffer (tcp_info sndbuf_limited).",
		Bit: HasLimited, Num: metric(HasLimited, func(c *Conn) uint64 { return c.Metrics.SndbufLimited }),
	},
	{
		Name: "congestion_control", Aliases: []string{"cc"}, Group: GroupWindows, Kind: KindString, Column: "CONG",
		Doc: "Congestion control algorithm (TCP_CONGESTION).",
		Bit: HasCC, Str: func(c *Conn) (string, bool) {
			if c.Has&HasCC == 0 {
				return "", false
			}
			return ccName(c.Metrics.CC), true
		},
	},
}

// ccNames saves an allocation for the usual algorithms.
var ccNames = func() map[CC]string {
	m := map[CC]string{}
	for _, n := range []string{"cubic", "reno", "bbr", "dctcp", "vegas", "westwood", "htcp", "bic", "illinois", "yeah", "cdg", "nv", "hybla", "highspeed", "scalable", "veno", "lp"} {
		m[MakeCC(n)] = n
	}
	return m
}()

func ccName(c CC) string {
	if n, ok := ccNames[c]; ok {
		return n
	}
	return c.String()
}

func family(c *Conn) string {
	if c.Local.Is4() || (c.Remote.Is4() && !c.Remote.IsUnspecified()) {
		return "ipv4"
	}
	return "ipv6"
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func metric(bit Has, get func(*Conn) uint64) func(*Conn) (uint64, bool) {
	return func(c *Conn) (uint64, bool) {
		if c.Has&bit == 0 {
			return 0, false
		}
		return get(c), true
	}
}

func stamp(get func(*Conn) Stamp) func(*Conn) (uint64, bool) {
	return func(c *Conn) (uint64, bool) {
		s := get(c)
		return uint64(s.Wall), !s.IsZero()
	}
}

func process(get func(*Process) string) func(*Conn) (string, bool) {
	return func(c *Conn) (string, bool) {
		if c.Process == nil {
			return "", false
		}
		s := get(c.Process)
		return s, s != ""
	}
}

func name(get func(*Names) string) func(*Conn) (string, bool) {
	return func(c *Conn) (string, bool) {
		if c.Names == nil {
			return "", false
		}
		s := get(c.Names)
		return s, s != ""
	}
}

func nameNum(get func(*Names) uint64) func(*Conn) (uint64, bool) {
	return func(c *Conn) (uint64, bool) {
		if c.Names == nil {
			return 0, false
		}
		v := get(c.Names)
		return v, v != 0
	}
}
