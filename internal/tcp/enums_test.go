package tcp

import (
	"testing"
	"time"
)

// TestEnumNames pins names that are written to JSON and stores, and checks that
// numbers beyond them have none.
func TestEnumNames(t *testing.T) {
	for want, s := range map[string]interface{ String() string }{
		"ebpf": SourceEBPF, "netlink": SourceNetlink, "procfs": SourceProcfs, "capture": SourceCapture,
		"unknown": DirectionUnknown, "inbound": Inbound, "outbound": Outbound, "listen": Listening, "transit": Transit,
		"scan": AttributionScan, "inherited": AttributionInherited, "exact": AttributionExact,
		"local": SideLocal, "remote": SideRemote,
		"fin": CloseFIN, "rst_sent": CloseRSTSent, "rst_received": CloseRSTReceived, "refused": CloseRefused,
		"timeout": CloseTimeout, "unreachable": CloseUnreachable, "aborted": CloseAborted,
		"opened": EventOpened, "established": EventEstablished, "changed": EventChanged, "retransmit": EventRetransmit,
		"reset": EventReset, "closed": EventClosed, "gap": EventGap,
		"duration": KindDuration, "packets": GroupPackets,
	} {
		if got := s.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, s := range []interface{ String() string }{
		SourceUnknown, SourceKind(200), Direction(200), Attribution(200), Side(200), CloseReason(200), EventType(200), Kind(200), Group(200), State(200),
	} {
		if got := s.String(); got != "" {
			t.Errorf("%T of no meaning is called %q", s, got)
		}
	}
}

func TestEventTypes(t *testing.T) {
	for _, n := range EventTypeNames() {
		if e, ok := ParseEventType(n); !ok || e.String() != n {
			t.Errorf("%s is %v, %v", n, e, ok)
		}
	}
	for _, n := range []string{"", "Opened", "other"} {
		if e, ok := ParseEventType(n); ok {
			t.Errorf("%q is %v", n, e)
		}
	}
}

func TestFixedTexts(t *testing.T) {
	for in, want := range map[string]string{"": "", "cubic": "cubic", "fifteen-bytes-x": "fifteen-bytes-x", "sixteen-bytes-xy": "sixteen-bytes-x"} {
		if got := MakeCC(in).String(); got != want {
			t.Errorf("CC %q is %q", in, got)
		}
		if got := MakeComm(in).String(); got != want {
			t.Errorf("comm %q is %q", in, got)
		}
	}
	if got := (Comm{0: 'a', 1: 0, 2: 'b'}).String(); got != "a" {
		t.Errorf("a comm with a zero in it is %q", got)
	}
	full := Comm([]byte("0123456789abcdef"))
	if got := full.String(); got != "0123456789abcdef" {
		t.Errorf("a comm without a zero is %q", got)
	}
}

func TestStamp(t *testing.T) {
	now := Stamp{Wall: 1_700_000_000_000_000_000, Boot: 5e9}
	if (Stamp{}).IsZero() != true || now.IsZero() {
		t.Error("IsZero is wrong")
	}
	earlier := now.At(2e9)
	if earlier.Wall != now.Wall-3e9 || now.Sub(earlier) != 3*time.Second || !now.At(0).IsZero() {
		t.Errorf("got %+v", earlier)
	}
	if got := earlier.Add(3 * time.Second); got != now {
		t.Errorf("got %+v, want %+v", got, now)
	}
	if got := now.Time().Format(time.RFC3339Nano); got != "2023-11-14T22:13:20Z" {
		t.Errorf("got %s", got)
	}
	for ns, want := range map[int64]string{0: "1970-01-01T00:00:00.000000000Z", 1_700_000_000_012_000_345: "2023-11-14T22:13:20.012000345Z", 999_999_999: "1970-01-01T00:00:00.999999999Z"} {
		if got := string(AppendTime(nil, ns)); got != want {
			t.Errorf("%d is %s, want %s", ns, got, want)
		}
	}
}

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		c    Conn
		want bool
	}{
		{Conn{State: Established}, true},
		{Conn{State: SynSent}, true},
		{Conn{State: Listen}, false},
		{Conn{State: Closed}, false},
		{Conn{State: TimeWait, Remnant: true}, false},
		{Conn{State: FinWait2}, true},
		{Conn{State: Established, Closed: Stamp{Wall: 1}}, false},
	} {
		if got := tt.c.Open(); got != tt.want {
			t.Errorf("%v: got %v", tt.c.State, got)
		}
	}
	if (Loss{}).Any() || !(Loss{Unknown: true}).Any() || !(Loss{Events: 1}).Any() {
		t.Error("Loss.Any is wrong")
	}
}
