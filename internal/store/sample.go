package store

import "github.com/viewtcp/viewtcp/internal/tcp"

// Sample is how one connection did in a stretch of time: the points of its
// graphs.
type Sample struct {
	// Time is the end of the stretch, nanoseconds since 1970 UTC; Span its
	// length, microseconds.
	Time int64
	Span uint64
	ID   tcp.ID
	Host string
	// SendRate and ReceiveRate are payload bytes per second over the stretch,
	// Retransmits the segments sent again in it.
	SendRate, ReceiveRate, Retransmits uint64
	// The rest are gauges at its end, in the units of tcp.Metrics; 0 is unknown.
	RTT, RTTVar, CWND, SndWnd, RcvWnd, DeliveryRate, Unacked, SendQueue uint64
}

// SampleColumns returns the columns of samples, by ascending tag. Callers must
// not change the slice.
func SampleColumns() []Column[Sample] { return sampleColumns }

var sampleColumns = []Column[Sample]{
	{
		Tag: 1, Name: "time", Type: Time, Hint: Rising,
		Num:    func(s *Sample) (uint64, bool) { return uint64(s.Time), true },
		SetNum: func(s *Sample, v uint64) { s.Time = int64(v) },
	},
	count(2, "span_us", Uint64, Repeated, func(s *Sample) *uint64 { return &s.Span }),
	{
		Tag: 3, Name: "id", Type: ID, Hint: Varied,
		Num:    func(s *Sample) (uint64, bool) { return uint64(s.ID), s.ID != 0 },
		SetNum: func(s *Sample, v uint64) { s.ID = tcp.ID(v) },
	},
	text(4, "host", func(s *Sample) *string { return &s.Host }),
	count(5, "send_rate", Uint64, Varied, func(s *Sample) *uint64 { return &s.SendRate }),
	count(6, "receive_rate", Uint64, Varied, func(s *Sample) *uint64 { return &s.ReceiveRate }),
	count(7, "retransmits", Uint32, Repeated, func(s *Sample) *uint64 { return &s.Retransmits }),
	num(8, "rtt_us", Uint32, Varied, func(s *Sample) *uint64 { return &s.RTT }),
	num(9, "rttvar_us", Uint32, Varied, func(s *Sample) *uint64 { return &s.RTTVar }),
	num(10, "cwnd", Uint32, Repeated, func(s *Sample) *uint64 { return &s.CWND }),
	num(11, "snd_wnd", Uint32, Repeated, func(s *Sample) *uint64 { return &s.SndWnd }),
	num(12, "rcv_wnd", Uint32, Repeated, func(s *Sample) *uint64 { return &s.RcvWnd }),
	num(13, "delivery_rate", Uint64, Varied, func(s *Sample) *uint64 { return &s.DeliveryRate }),
	num(14, "unacked", Uint32, Repeated, func(s *Sample) *uint64 { return &s.Unacked }),
	num(15, "send_queue", Uint32, Repeated, func(s *Sample) *uint64 { return &s.SendQueue }),
}
