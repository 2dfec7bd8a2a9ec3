package store

// The intervals of roll-ups and peaks, in nanoseconds.
const (
	Minute = 60_000_000_000
	Hour   = 60 * Minute
)

// GroupingSet names what a peak was counted by.
type GroupingSet uint8

// The grouping sets whose peaks are measured. Maxima do not add up: a peak of any
// other grouping follows from rows of connections only.
const (
	ByHost        GroupingSet = 1
	ByService     GroupingSet = 2
	ByProcess     GroupingSet = 3
	ByHostService GroupingSet = 4
)

var groupingSetNames = [...]string{"", "host", "service", "process", "host_service"}

func (g GroupingSet) String() string {
	if int(g) < len(groupingSetNames) {
		return groupingSetNames[g]
	}
	return ""
}

// GroupingSets lists the sets that are measured.
func GroupingSets() []GroupingSet {
	return []GroupingSet{ByHost, ByService, ByProcess, ByHostService}
}

// Peak is the most connections that were open at one moment of an interval, for
// one group of a grouping set. All rows belong to one host's observation: the
// peak of a service over several hosts is at most their sum.
//
// An interval during which nothing of the group was open has no row. Of several
// rows for the same interval and group, the highest holds.
type Peak struct {
	// Time is the start of the interval, nanoseconds since 1970 UTC; Interval its
	// length, Minute or Hour.
	Time, Interval int64
	Set            GroupingSet
	// Host, Service and Process are the group; those that the set does not name
	// are empty, but Host always says who measured. Empty is also the group of
	// connections without the name.
	Host, Service, Process string
	// MaxOpen is the peak; Open is how many were open at the end.
	MaxOpen, Open uint64
	// Observed is how much of the interval was watched, microseconds.
	Observed uint64
}

// PeakColumns returns the columns of peaks, by ascending tag. Callers must not
// change the slice.
func PeakColumns() []Column[Peak] { return peakColumns }

var peakColumns = []Column[Peak]{
	{
		Tag: 1, Name: "time", Type: Time, Hint: Repeated,
		Num:    func(p *Peak) (uint64, bool) { return uint64(p.Time), true },
		SetNum: func(p *Peak, v uint64) { p.Time = int64(v) },
	},
	{
		Tag: 2, Name: "interval_s", Type: Uint32, Hint: Repeated,
		Num:    func(p *Peak) (uint64, bool) { return uint64(p.Interval / 1e9), true },
		SetNum: func(p *Peak, v uint64) { p.Interval = int64(v) * 1e9 },
	},
	{
		Tag: 3, Name: "grouping", Type: String, Hint: Repeated,
		Str: func(p *Peak) (string, bool) { return p.Set.String(), p.Set != 0 },
		SetStr: func(p *Peak, s string) {
			for _, g := range GroupingSets() {
				if g.String() == s {
					p.Set = g
				}
			}
		},
	},
	text(4, "host", func(p *Peak) *string { return &p.Host }),
	text(5, "service", func(p *Peak) *string { return &p.Service }),
	text(6, "process", func(p *Peak) *string { return &p.Process }),
	count(7, "max_open", Uint32, Repeated, func(p *Peak) *uint64 { return &p.MaxOpen }),
	count(8, "open", Uint32, Repeated, func(p *Peak) *uint64 { return &p.Open }),
	count(9, "observed_us", Uint64, Repeated, func(p *Peak) *uint64 { return &p.Observed }),
}
