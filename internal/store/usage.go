package store

import (
	"cmp"
	"context"
	"time"
)

// Scopes of rows of usage.
const (
	// ScopeHost is the whole machine, as far as this process sees it.
	ScopeHost = "host"
	// ScopeProcess is one process.
	ScopeProcess = "process"
)

// Measure numbers one value of a row of usage, on disk too (as column 20 and
// up): append only.
type Measure uint8

// The measures. Those ending in US are microseconds of the row's span; CPU time
// is summed over CPUs. A counter is how far it went in the span, a gauge is the
// value at its end.
const (
	CPUUser Measure = iota
	CPUSystem
	CPUIOWait
	CPUSteal
	CPUs    // gauge: CPUs online
	Load1   // gauge: load average of a minute, thousandths
	Threads // gauge
	Memory  // gauge: used on a host, resident of a process; bytes
	MemoryTotal
	MemoryAvailable
	SwapUsed
	ReadBytes // from disks
	WrittenBytes
	DiskBusy // of the busiest disk, microseconds
	FDs      // gauge: open descriptors
	Sockets  // gauge: TCP sockets of a process

	// Pressure stall time (PSI): some means that at least one task waited, full
	// that all did. Of a process: of its control group.
	PressureCPU
	PressureMemory
	PressureMemoryFull
	PressureIO
	PressureIOFull

	// Counters of the kernel's TCP, named as in /proc/net/netstat and snmp.
	ListenOverflows
	ListenDrops
	TCPTimeouts
	RetransSegs
	InSegs
	OutSegs
	InErrs
	OutRsts
	AttemptFails
	EstabResets
	ActiveOpens
	PassiveOpens
	SyncookiesSent
	SyncookiesFailed
	ReqQFullDrop
	AbortOnMemory
	AbortOnTimeout
	MemoryPressures
	BacklogDrop
	RcvQDrop

	// Gauges of TCP on the host.
	TCPMemory // pages of tcp_mem in bytes
	TCPMemoryLimit
	TCPOrphans
	TCPTimeWait
	TCPInUse
	EphemeralUsed // local ports of the ephemeral range that have a socket
	EphemeralPorts

	NumMeasures
)

// A MeasureInfo says what a measure is.
type MeasureInfo struct {
	Name string
	// Gauge tells a value at a moment from how far a counter went.
	Gauge bool
	// Unit is us, bytes, milli (thousandths), or empty for a plain number.
	Unit string
	Doc  string
}

var measures = [NumMeasures]MeasureInfo{
	CPUUser:            {"cpu_user_us", false, "us", "CPU time in user space"},
	CPUSystem:          {"cpu_system_us", false, "us", "CPU time in the kernel, interrupts included on a host"},
	CPUIOWait:          {"cpu_iowait_us", false, "us", "CPU time idle with I/O outstanding"},
	CPUSteal:           {"cpu_steal_us", false, "us", "CPU time that the hypervisor gave to others"},
	CPUs:               {"cpus", true, "", "CPUs online"},
	Load1:              {"load1_milli", true, "milli", "load average of a minute, thousandths"},
	Threads:            {"threads", true, "", "threads"},
	Memory:             {"memory_bytes", true, "bytes", "memory used: of a host all that is not available, of a process what is resident"},
	MemoryTotal:        {"memory_total_bytes", true, "bytes", "memory that there is"},
	MemoryAvailable:    {"memory_available_bytes", true, "bytes", "memory that can be had without swapping"},
	SwapUsed:           {"swap_used_bytes", true, "bytes", "swap in use"},
	ReadBytes:          {"read_bytes", false, "bytes", "bytes read from disks"},
	WrittenBytes:       {"written_bytes", false, "bytes", "bytes written to disks"},
	DiskBusy:           {"disk_busy_us", false, "us", "time that the busiest disk was at work"},
	FDs:                {"fds", true, "", "open descriptors"},
	Sockets:            {"tcp_sockets", true, "", "TCP sockets of the process"},
	PressureCPU:        {"pressure_cpu_us", false, "us", "time that some task waited for a CPU"},
	PressureMemory:     {"pressure_memory_us", false, "us", "time that some task waited for memory"},
	PressureMemoryFull: {"pressure_memory_full_us", false, "us", "time that all tasks waited for memory"},
	PressureIO:         {"pressure_io_us", false, "us", "time that some task waited for I/O"},
	PressureIOFull:     {"pressure_io_full_us", false, "us", "time that all tasks waited for I/O"},
	ListenOverflows:    {"listen_overflows", false, "", "connections refused because an accept queue was full"},
	ListenDrops:        {"listen_drops", false, "", "connections that a listener dropped, overflows included"},
	TCPTimeouts:        {"tcp_timeouts", false, "", "retransmission timeouts"},
	RetransSegs:        {"retrans_segs", false, "", "segments sent again"},
	InSegs:             {"in_segs", false, "", "segments received"},
	OutSegs:            {"out_segs", false, "", "segments sent, without those sent again"},
	InErrs:             {"in_errs", false, "", "bad segments received"},
	OutRsts:            {"out_rsts", false, "", "segments sent with RST"},
	AttemptFails:       {"attempt_fails", false, "", "attempts to connect that failed"},
	EstabResets:        {"estab_resets", false, "", "established connections that were reset"},
	ActiveOpens:        {"active_opens", false, "", "attempts to connect"},
	PassiveOpens:       {"passive_opens", false, "", "connections accepted by the kernel"},
	SyncookiesSent:     {"syncookies_sent", false, "", "SYN cookies sent because the queue of half-open connections was full"},
	SyncookiesFailed:   {"syncookies_failed", false, "", "bad SYN cookies received"},
	ReqQFullDrop:       {"reqq_full_drop", false, "", "SYNs dropped because the queue was full and cookies are off"},
	AbortOnMemory:      {"abort_on_memory", false, "", "connections aborted for lack of memory or too many orphans"},
	AbortOnTimeout:     {"abort_on_timeout", false, "", "connections aborted because retransmissions were not answered"},
	MemoryPressures:    {"memory_pressures", false, "", "times that TCP came under memory pressure"},
	BacklogDrop:        {"backlog_drop", false, "", "segments dropped because a socket's backlog was full"},
	RcvQDrop:           {"rcvq_drop", false, "", "segments dropped because a receive queue was full"},
	TCPMemory:          {"tcp_memory_bytes", true, "bytes", "memory that TCP sockets hold"},
	TCPMemoryLimit:     {"tcp_memory_limit_bytes", true, "bytes", "memory that TCP sockets may hold (net.ipv4.tcp_mem)"},
	TCPOrphans:         {"tcp_orphans", true, "", "sockets without a process that are still closing"},
	TCPTimeWait:        {"tcp_time_wait", true, "", "sockets in TIME_WAIT"},
	TCPInUse:           {"tcp_in_use", true, "", "sockets in use"},
	EphemeralUsed:      {"ephemeral_used", true, "", "ports of the ephemeral range that have a socket"},
	EphemeralPorts:     {"ephemeral_ports", true, "", "ports of the ephemeral range"},
}

// Info describes a measure; an empty one if there is no such.
func (m Measure) Info() MeasureInfo {
	if m < NumMeasures {
		return measures[m]
	}
	return MeasureInfo{}
}

func (m Measure) String() string { return m.Info().Name }

// Usage is what a host or a process used between Time-Span and Time: the context
// that connections are read in.
type Usage struct {
	// Time is nanoseconds since 1970 UTC, Span microseconds.
	Time int64
	Span uint64
	Host string
	// Scope is ScopeHost or ScopeProcess. All below is of a process; Started is
	// when it began, nanoseconds since 1970, to the 10 ms that the kernel tells.
	Scope                          string
	PID                            uint64
	Process, User, Container, Unit string
	Started                        int64
	// Has says which Values are known, by 1 << Measure.
	Has    uint64
	Values [NumMeasures]uint64
}

// Set makes a value known.
func (u *Usage) Set(m Measure, v uint64) {
	u.Values[m] = v
	u.Has |= 1 << m
}

// Value returns a value; ok is false when it is unknown.
func (u *Usage) Value(m Measure) (v uint64, ok bool) {
	if m >= NumMeasures || u.Has&(1<<m) == 0 {
		return 0, false
	}
	return u.Values[m], true
}

// UsageQuery says which rows of usage to read. From is included, To is not; an
// empty Scope, a zero PID and an empty Process are all.
type UsageQuery struct {
	From, To time.Time
	Scope    string
	PID      uint64
	Process  string
}

// Matches reports whether a row is asked for, its time aside.
func (q *UsageQuery) Matches(u *Usage) bool {
	return (q.Scope == "" || q.Scope == u.Scope) && (q.PID == 0 || q.PID == u.PID) &&
		(q.Process == "" || q.Process == u.Process)
}

// A UsageQuerier answers what hosts and processes used. Engines are one beside
// Querier, whose rules hold here too.
type UsageQuerier interface {
	// Usage calls fn for each row that q asks for, in the order of CompareUsage.
	Usage(ctx context.Context, q *UsageQuery, fn func(*Usage) error) (*Answer, error)
}

// CompareUsage orders rows by time, host, scope (a host before its processes),
// name and number of the process.
func CompareUsage(a, b Usage) int {
	return cmp.Or(
		cmp.Compare(a.Time, b.Time), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Scope, b.Scope),
		cmp.Compare(a.Process, b.Process), cmp.Compare(a.PID, b.PID),
	)
}

// tagMeasures is the column of the first measure.
const tagMeasures = 20

// UsageColumns returns the columns of usage, by ascending tag. Callers must not
// change the slice.
func UsageColumns() []Column[Usage] { return usageColumns }

var usageColumns = makeUsageColumns()

func makeUsageColumns() []Column[Usage] {
	cs := []Column[Usage]{
		{
			Tag: 1, Name: "time", Type: Time, Hint: Rising,
			Num:    func(u *Usage) (uint64, bool) { return uint64(u.Time), true },
			SetNum: func(u *Usage, v uint64) { u.Time = int64(v) },
		},
		count(2, "span_us", Uint64, Repeated, func(u *Usage) *uint64 { return &u.Span }),
		text(3, "host", func(u *Usage) *string { return &u.Host }),
		text(4, "scope", func(u *Usage) *string { return &u.Scope }),
		num(5, "pid", Uint32, Repeated, func(u *Usage) *uint64 { return &u.PID }),
		text(6, "process", func(u *Usage) *string { return &u.Process }),
		text(7, "user", func(u *Usage) *string { return &u.User }),
		text(8, "container", func(u *Usage) *string { return &u.Container }),
		text(9, "unit", func(u *Usage) *string { return &u.Unit }),
		when(10, "started", func(u *Usage) *int64 { return &u.Started }),
	}
	for m := range NumMeasures {
		hint := Varied
		if m > Sockets {
			hint = Repeated // nearly always 0
		}
		cs = append(cs, Column[Usage]{
			Tag: tagMeasures + uint16(m), Name: m.String(), Type: Uint64, Hint: hint,
			Num:    func(u *Usage) (uint64, bool) { return u.Value(m) },
			SetNum: func(u *Usage, v uint64) { u.Set(m, v) },
		})
	}
	return cs
}

// A SampleScanner reads the samples of all connections at once. Engines are one
// beside Querier, whose rules hold here too.
type SampleScanner interface {
	// AllSamples calls fn for each sample of the range, in no particular order.
	AllSamples(ctx context.Context, from, to time.Time, fn func(*Sample) error) (*Answer, error)
}
