package tcptest

import (
	"strconv"
	"strings"
)

// An ssToken ties a value that ss prints to fields of ViewTCP, both ways.
// Comparing goes by print: our value as ss would print it is held against what
// ss did print, so that its roundings and omissions need no tolerance.
type ssToken struct {
	name string
	// keys are the fields that print needs; a row without the first has no
	// value.
	keys []string
	// counter says that the value never falls while the socket lives.
	counter bool
	// print returns "" where ss prints nothing.
	print func(row Row, fin uint64) string
	// parse sets the fields; nil for those that another token sets.
	parse func(r *SSRow, row Row, s string)
	// cut reduces what ss prints to the part that print makes.
	cut func(s string) string
}

// Values that the kernel has for unknown.
const (
	noRTO      = 3000000 // 3 s: TCP_TIMEOUT_INIT once, which ss leaves out
	ssthreshSS = 0xffff  // from here on ss prints no ssthresh
	noMinRTT   = "4.29497e+06"
)

var ssTokens = []ssToken{
	{
		name: "rto", keys: []string{"rto_us"},
		print: func(row Row, _ uint64) string {
			if v := row.num("rto_us"); v != noRTO {
				return millis(v)
			}
			return ""
		},
		parse: func(_ *SSRow, row Row, s string) { row["rto_us"] = micros(s) },
	},
	{
		name: "rtt", keys: []string{"rtt_us", "rttvar_us"},
		print: func(row Row, _ uint64) string {
			if v := row.num("rtt_us"); v != 0 {
				return gfmt(v) + "/" + gfmt(row.num("rttvar_us"))
			}
			return ""
		},
		parse: func(_ *SSRow, row Row, s string) {
			rtt, rttvar, _ := strings.Cut(s, "/")
			row["rtt_us"], row["rttvar_us"] = micros(rtt), micros(rttvar)
		},
	},
	{
		name: "minrtt", keys: []string{"min_rtt_us"},
		print: func(row Row, _ uint64) string { return millis(row.num("min_rtt_us")) },
		cut: func(s string) string {
			if s == noMinRTT {
				return ""
			}
			return s
		},
		parse: func(_ *SSRow, row Row, s string) {
			if s != noMinRTT {
				row["min_rtt_us"] = micros(s)
			}
		},
	},
	gauge("mss", "mss"),
	gauge("pmtu", "pmtu"),
	gauge("cwnd", "cwnd"),
	{
		name: "ssthresh", keys: []string{"ssthresh"},
		print: func(row Row, _ uint64) string {
			if v := row.num("ssthresh"); v < ssthreshSS {
				return plain(v)
			}
			return ""
		},
		parse: func(_ *SSRow, row Row, s string) { row["ssthresh"] = number(s) },
	},
	{
		name: "bytes_sent", keys: []string{"bytes_sent", "bytes_retransmitted"}, counter: true,
		print: func(row Row, _ uint64) string {
			return plain(row.num("bytes_sent") + row.num("bytes_retransmitted"))
		},
		parse: func(r *SSRow, row Row, s string) {
			row["bytes_sent"] = number(s) - number(r.Tokens["bytes_retrans"])
		},
	},
	counter("bytes_retrans", "bytes_retransmitted"),
	{
		name: "bytes_received", keys: []string{"bytes_received"}, counter: true,
		print: func(row Row, fin uint64) string { return plain(row.num("bytes_received") + fin) },
		parse: func(r *SSRow, row Row, s string) {
			v := number(s)
			if v > 0 && finStates.Has(r.State) {
				v--
			}
			row["bytes_received"] = v
		},
	},
	counter("segs_out", "segments_sent"),
	counter("segs_in", "segments_received"),
	{
		name: "retrans", keys: []string{"retransmits"}, counter: true,
		print: func(row Row, _ uint64) string { return plain(row.num("retransmits")) },
		cut: func(s string) string {
			_, total, _ := strings.Cut(s, "/")
			return plain(number(total))
		},
		parse: func(_ *SSRow, row Row, s string) {
			_, total, _ := strings.Cut(s, "/")
			row["retransmits"] = number(total)
		},
	},
	gauge("lost", "lost"),
	{
		name: "reordering", keys: []string{"reordering"},
		print: func(row Row, _ uint64) string {
			if v := row.num("reordering"); v != 3 {
				return plain(v)
			}
			return ""
		},
		parse: func(_ *SSRow, row Row, s string) { row["reordering"] = number(s) },
	},
	counter("dsack_dups", "dsack_dups"),
	counter("rcv_ooopack", "ooo_received"),
	counter("delivered_ce", "ecn_ce"),
	gauge("unacked", "unacked"),
	gauge("notsent", "notsent"),
	gauge("snd_wnd", "snd_wnd"),
	rate("delivery_rate"),
	rate("pacing_rate"),
	limited("busy", "busy_us"),
	limited("rwnd_limited", "rwnd_limited_us"),
	limited("sndbuf_limited", "sndbuf_limited_us"),
}

func gauge(name, key string) ssToken {
	return ssToken{
		name: name, keys: []string{key},
		print: func(row Row, _ uint64) string { return plain(row.num(key)) },
		parse: func(_ *SSRow, row Row, s string) { row[key] = number(s) },
	}
}

func counter(name, key string) ssToken {
	t := gauge(name, key)
	t.counter = true
	return t
}

// rate is bits per second in ss; a second number is a limit that was set.
func rate(name string) ssToken {
	return ssToken{
		name: name, keys: []string{name},
		print: func(row Row, _ uint64) string {
			if v := row.num(name); v != 0 {
				return strconv.FormatFloat(float64(v)*8, 'f', 0, 64)
			}
			return ""
		},
		cut: func(s string) string {
			s, _, _ = strings.Cut(s, "/")
			return strings.TrimSuffix(s, "bps")
		},
		parse: func(_ *SSRow, row Row, s string) {
			s, _, _ = strings.Cut(s, "/")
			row[name] = number(strings.TrimSuffix(s, "bps")) / 8
		},
	}
}

// limited is whole milliseconds in ss, with a percentage after most.
func limited(name, key string) ssToken {
	return ssToken{
		name: name, keys: []string{key}, counter: true,
		print: func(row Row, _ uint64) string {
			if v := row.num(key); v != 0 {
				return strconv.FormatUint(v/1000, 10)
			}
			return ""
		},
		cut: func(s string) string {
			s, _, _ = strings.Cut(s, "ms")
			return s
		},
		parse: func(_ *SSRow, row Row, s string) {
			s, _, _ = strings.Cut(s, "ms")
			row[key] = number(s) * 1000
		},
	}
}

func plain(v uint64) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatUint(v, 10)
}

// gfmt prints microseconds as C's %g prints milliseconds.
func gfmt(us uint64) string { return strconv.FormatFloat(float64(us)/1000, 'g', 6, 64) }

func millis(us uint64) string {
	if us == 0 {
		return ""
	}
	return gfmt(us)
}

func micros(ms string) uint64 {
	f, err := strconv.ParseFloat(ms, 64)
	if err != nil || f < 0 || f > 1e15 {
		return 0
	}
	return uint64(f*1000 + 0.5)
}

func number(s string) uint64 {
	v, _ := strconv.ParseUint(s, 10, 64)
	return v
}
