package moment

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones on machines that have none
)

func zone(tb testing.TB, name string) *time.Location {
	tb.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		tb.Fatal(err)
	}
	return z
}

// now is a Monday, some time after lunch in Berlin.
func nowIn(tb testing.TB, name string) time.Time {
	tb.Helper()
	return time.Date(2026, 11, 23, 14, 30, 15, 500, zone(tb, name))
}

func TestParse(t *testing.T) {
	now := nowIn(t, "Europe/Berlin")
	for in, want := range map[string]string{
		"now":                             "2026-11-23T14:30:15.0000005+01:00",
		"2h":                              "2026-11-23T12:30:15.0000005+01:00",
		"-30m":                            "2026-11-23T14:00:15.0000005+01:00",
		"30m ago":                         "2026-11-23T14:00:15.0000005+01:00",
		"now-10m":                         "2026-11-23T14:20:15.0000005+01:00",
		"now - 10m":                       "2026-11-23T14:20:15.0000005+01:00",
		"now+1m":                          "2026-11-23T14:31:15.0000005+01:00",
		"1h30m":                           "2026-11-23T13:00:15.0000005+01:00",
		"1.5h":                            "2026-11-23T13:00:15.0000005+01:00",
		"2 hours ago":                     "2026-11-23T12:30:15.0000005+01:00",
		"1w2d":                            "2026-11-14T14:30:15.0000005+01:00",
		"90d":                             "2026-08-25T15:30:15.0000005+02:00", // 24 hours each, so an hour of summer time
		"today 14:00":                     "2026-11-23T14:00:00+01:00",
		"14:00":                           "2026-11-23T14:00:00+01:00",
		"9:05":                            "2026-11-23T09:05:00+01:00",
		"Yesterday 23:59:59.25":           "2026-11-22T23:59:59.25+01:00",
		"sat 08:00":                       "2026-11-21T08:00:00+01:00",
		"2026-11-20 14:05":                "2026-11-20T14:05:00+01:00",
		"2026-11-20T14:05":                "2026-11-20T14:05:00+01:00",
		"2026-11-20T14:05:00Z":            "2026-11-20T15:05:00+01:00",
		"2026-11-20t14:05:00.123456789z":  "2026-11-20T15:05:00.123456789+01:00",
		"2026-11-20T14:05:00-05:00":       "2026-11-20T20:05:00+01:00",
		"2026-11-20 14:05 +0530":          "2026-11-20T09:35:00+01:00",
		"2026-11-20 14:05 UTC":            "2026-11-20T15:05:00+01:00",
		"1795147200":                      "2026-11-20T05:00:00+01:00",
		"1795147200.25":                   "2026-11-20T05:00:00.25+01:00",
		"2026-07-20 14:05":                "2026-07-20T14:05:00+02:00",
		"  2026-07-20   14:05  ":          "2026-07-20T14:05:00+02:00",
		"2026-03-29 01:59:59":             "2026-03-29T01:59:59+01:00",
		"2026-03-29 03:00":                "2026-03-29T03:00:00+02:00",
		"2262-01-01":                      "",
		"1969-12-31":                      "",
		"2026-03-29 02:30":                "", // clocks went from 2 to 3
		"2026-13-01":                      "",
		"2026-02-30":                      "",
		"25:00":                           "",
		"12:60":                           "",
		"":                                "",
		"tea time":                        "",
		"5":                               "",
		"-":                               "",
		"now-":                            "",
		"now10m":                          "",
		"1y":                              "",
		"3 months":                        "",
		"2026-11-20 14:05 pm":             "",
		"today 14:00 15:00 16:00":         "",
		"9999999999999999999h":            "",
		"1e9h":                            "",
		"..h":                             "",
		"--5m":                            "",
		"5m 5":                            "",
		"monday tuesday":                  "",
		"1795147200.1234567891":           "",
		"2026-11-20T14:05:00+99:99":       "",
		"10000000000000":                  "",
		"now+300d now":                    "",
		"2026-11-20T14:05:00Z 2026-11-20": "",
	} {
		sp, err := Parse(in, now)
		got := ""
		if err == nil {
			got = sp.From.Format(time.RFC3339Nano)
			if sp.Day || !sp.From.Equal(sp.To) {
				t.Errorf("%q is no single moment: %v", in, sp)
			}
		}
		if got != want {
			t.Errorf("%q is %q, want %q (%v)", in, got, want, err)
		}
	}
}

func TestDays(t *testing.T) {
	for _, tt := range []struct{ zone, in, from, to string }{
		{"Europe/Berlin", "today", "2026-11-23T00:00:00+01:00", "2026-11-24T00:00:00+01:00"},
		{"Europe/Berlin", "yesterday", "2026-11-22T00:00:00+01:00", "2026-11-23T00:00:00+01:00"},
		{"Europe/Berlin", "monday", "2026-11-23T00:00:00+01:00", "2026-11-24T00:00:00+01:00"},
		{"Europe/Berlin", "TUE", "2026-11-17T00:00:00+01:00", "2026-11-18T00:00:00+01:00"},
		{"Europe/Berlin", "sunday", "2026-11-22T00:00:00+01:00", "2026-11-23T00:00:00+01:00"},
		{"Asia/Kolkata", "2026-11-20", "2026-11-20T00:00:00+05:30", "2026-11-21T00:00:00+05:30"},
		{"Europe/Berlin", "2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"}, // 23 hours
		{"Europe/Berlin", "2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-26T00:00:00+01:00"}, // 25 hours
		// Clocks of Cairo go forward from midnight to one.
		{"Africa/Cairo", "2026-04-24", "2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"},
		{"Africa/Cairo", "2026-04-23", "2026-04-23T00:00:00+02:00", "2026-04-24T01:00:00+03:00"},
		// Those of Havana back from one to midnight.
		{"America/Havana", "2026-11-01", "2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"},
		// A day that Samoa left out has no length.
		{"Pacific/Apia", "2011-12-30", "2011-12-31T00:00:00+14:00", "2011-12-31T00:00:00+14:00"},
	} {
		sp, err := Parse(tt.in, nowIn(t, tt.zone))
		if err != nil {
			t.Errorf("%s in %s: %v", tt.in, tt.zone, err)
			continue
		}
		from, to := sp.From.Format(time.RFC3339), sp.To.Format(time.RFC3339)
		if from != tt.from || to != tt.to || !sp.Day {
			t.Errorf("%s in %s is %s to %s, want %s to %s", tt.in, tt.zone, from, to, tt.from, tt.to)
		}
	}
}

// TestTwice checks a time that came twice.
func TestTwice(t *testing.T) {
	sp, err := Parse("2026-10-25 02:30", nowIn(t, "Europe/Berlin"))
	if err != nil {
		t.Fatal(err)
	}
	if got := sp.To.Sub(sp.From); got != time.Hour {
		t.Errorf("02:30 came twice, %v apart, want an hour: %v", got, sp)
	}
}

func TestAt(t *testing.T) {
	now := nowIn(t, "UTC")
	if at, err := At("yesterday 14:00", now); err != nil || at.Format(time.RFC3339) != "2026-11-22T14:00:00Z" {
		t.Errorf("yesterday 14:00 is %v (%v)", at, err)
	}
	if _, err := At("yesterday", now); err == nil || !strings.Contains(err.Error(), "yesterday 14:00") {
		t.Errorf("a whole day as a moment: %v", err)
	}
}

// A rangeTest is what --since and --until make: two times, or a word of the error.
type rangeTest struct{ since, until, from, to, wrong string }

// checkRanges holds a reader of --since and --until against what it is to make.
func checkRanges(t *testing.T, read func(since, until string) (from, to time.Time, err error), tests []rangeTest) {
	t.Helper()
	for _, tt := range tests {
		from, to, err := read(tt.since, tt.until)
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q to %q: %v, want %q", tt.since, tt.until, err, tt.wrong)
			}
			continue
		}
		if f, u := from.Format(time.DateTime), to.Format(time.DateTime); err != nil || f != tt.from || u != tt.to {
			t.Errorf("%q to %q is %s to %s (%v), want %s to %s", tt.since, tt.until, f, u, err, tt.from, tt.to)
		}
	}
}

// TestBounds: ends that nobody said are open.
func TestBounds(t *testing.T) {
	now := nowIn(t, "UTC")
	bounds := func(since, until string) (time.Time, time.Time, error) { return Bounds(since, until, now) }
	checkRanges(t, bounds, []rangeTest{
		{"", "", "0001-01-01 00:00:00", "0001-01-01 00:00:00", ""},
		{"2h", "", "2026-11-23 12:30:15", "0001-01-01 00:00:00", ""},
		{"now", "", "2026-11-23 14:30:15", "0001-01-01 00:00:00", ""},
		{"", "yesterday", "0001-01-01 00:00:00", "2026-11-23 00:00:00", ""},
		{"2h", "12:45", "2026-11-23 12:30:15", "2026-11-23 12:45:00", ""},
		{"1h", "1h", "", "", "not before"},
		{"15:00", "", "", "", "still to come"},
		{"15:00", "16:00", "", "", "still to come"},
		{"soon", "", "", "", "--since"},
		{"", "soon", "", "", "--until"},
	})
}

func TestRange(t *testing.T) {
	now := nowIn(t, "UTC")
	lastHour := func(since, until string) (time.Time, time.Time, error) { return Range(since, until, time.Hour, now) }
	checkRanges(t, lastHour, []rangeTest{
		{"", "", "2026-11-23 13:30:15", "2026-11-23 14:30:15", ""},
		{"2h", "", "2026-11-23 12:30:15", "2026-11-23 14:30:15", ""},
		{"2h", "1h", "2026-11-23 12:30:15", "2026-11-23 13:30:15", ""},
		{"", "12:00", "2026-11-23 11:00:00", "2026-11-23 12:00:00", ""},
		{"yesterday", "yesterday", "2026-11-22 00:00:00", "2026-11-23 00:00:00", ""},
		{"yesterday", "", "2026-11-22 00:00:00", "2026-11-23 14:30:15", ""},
		{"1h", "2h", "", "", "not before"},
		{"15:00", "", "", "", "still to come"},
		{"now", "", "", "", "nothing lies between"},
		{"soon", "", "", "", "--since"},
		{"", "soon", "", "", "--until"},
	})
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"5m": 5 * time.Minute, "1d": 24 * time.Hour, "1h30m": 90 * time.Minute, "2 weeks": 14 * 24 * time.Hour,
		"250ms": 250 * time.Millisecond, "0s": 0, "-5m": 0, "5": 0, "": 0, "1y": 0,
	} {
		got, err := Duration(in)
		if got != want || err == nil != (want > 0) {
			t.Errorf("%q is %v (%v), want %v", in, got, err, want)
		}
	}
}

// FuzzParse checks that what is read is ordered, can be counted, and comes back
// from its own writing.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"now-10m", "yesterday 14:00", "mon", "2026-03-29 02:30", "2026-10-25 02:30", "1795147200.25", "1h30m ago",
		"2026-11-20T14:05:00+01:00", "14:05:30.5 utc", "2011-12-30", "now+9999d", "2261-12-31", "1970-01-01",
	} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(3))
	}
	names := []string{"UTC", "Europe/Berlin", "Africa/Cairo", "Pacific/Apia", "America/Havana", "Asia/Kolkata"}
	var nows []time.Time
	for _, n := range names {
		nows = append(nows, nowIn(f, n))
	}
	f.Fuzz(func(t *testing.T, s string, z uint8) {
		now := nows[int(z)%len(nows)]
		sp, err := Parse(s, now)
		if err != nil {
			return
		}
		if sp.To.Before(sp.From) || sp.From.UnixNano() < 0 || sp.To.UnixNano() < 0 || sp.To.Sub(sp.From) > 26*time.Hour {
			t.Fatalf("%q is %v", s, sp)
		}
		for _, at := range []time.Time{sp.From, sp.To} {
			again, err := Parse(at.Format(time.RFC3339Nano), now)
			if err != nil || !again.From.Equal(at) {
				t.Fatalf("%q is %v, which reads back as %v (%v)", s, at, again, err)
			}
		}
	})
}
