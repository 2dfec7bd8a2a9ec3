package chart

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones on machines that have none
	"unicode/utf8"
)

var nan = math.NaN()

func TestSpark(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		top    float64
		want   string
	}{
		{[]float64{0, 1, 2, 3, 4, 5, 6, 7}, 0, "▁▂▃▄▅▆▇█"},
		{[]float64{0, nan, 7}, 0, "▁ █"},
		{[]float64{0, 0}, 0, "▁▁"},
		{[]float64{50}, 100, "▄"},
		{[]float64{200}, 100, "█"},
		{nil, 0, ""},
	} {
		if got := Spark(tt.values, tt.top); got != tt.want {
			t.Errorf("Spark(%v, %v) = %q, want %q", tt.values, tt.top, got, tt.want)
		}
	}
}

func TestArea(t *testing.T) {
	got := strings.Join(Area([]float64{0, 0.01, 2, 4, 6, 8, nan}, 2, 0), "\n")
	want := "" +
		"    ▄█ \n" +
		" ▁▄███ "
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBraille(t *testing.T) {
	for _, tt := range []struct {
		values        []float64
		width, height int
		want          []string
	}{
		{[]float64{4, 3, 2, 1}, 2, 1, []string{"⣷⣄"}},
		{[]float64{8, 0.1}, 1, 2, []string{"⡇", "⣇"}},
		{[]float64{9, 4, 3, nan, 1}, 2, 1, []string{"⣷⢀"}},
		{nil, 2, 1, []string{"  "}},
	} {
		if got := Braille(tt.values, tt.width, tt.height, 0); !slices.Equal(got, tt.want) {
			t.Errorf("Braille(%v) = %q, want %q", tt.values, got, tt.want)
		}
	}
}

func TestBar(t *testing.T) {
	for _, tt := range []struct {
		share float64
		want  string
	}{
		{0, ""}, {0.0001, "▏"}, {0.5, "██"}, {0.4, "█▋"}, {0.625, "██▌"}, {1, "████"}, {3, "████"}, {-1, ""}, {nan, ""},
	} {
		if got := Bar(tt.share, 4); got != tt.want {
			t.Errorf("Bar(%v) = %q, want %q", tt.share, got, tt.want)
		}
	}
}

func TestHeat(t *testing.T) {
	var got []rune
	for _, v := range []float64{nan, 0, 0.5, 1, 9, 10, 99, 100, 999, 1000} {
		got = append(got, Shade(v, Heat(v, 1000)))
	}
	if want := " ·░░▒▒▓▓██"; string(got) != want {
		t.Errorf("got %q, want %q", string(got), want)
	}
	for level := 2; level <= HeatLevels; level++ {
		from := HeatFrom(level, 1000)
		if Heat(from*1.001, 1000) != level || Heat(from*0.999, 1000) != level-1 {
			t.Errorf("level %d begins at %v, but there the levels are %d and %d", level, from, Heat(from*0.999, 1000), Heat(from*1.001, 1000))
		}
	}
}

func TestFit(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		width  int
		want   string // as a sparkline of eighths
		per    int
	}{
		{[]float64{1, 5, nan, 2, nan, nan, 3}, 4, "▂▆▃▄", 2},
		{[]float64{1, 2, 3, 4, 5, 6, 7}, 7, "▂▃▄▅▆▇█", 1},
		{[]float64{1, 2, 3, 4, 5, 6, 7}, 6, "▂▃▄▅▆█", 2},
		{[]float64{2, 7}, 7, "▃▃▃▃███", 1},
		{[]float64{7}, 100, "████████████", 1},
		{nil, 10, "", 1},
		{[]float64{1}, 0, "", 1},
	} {
		got, per := Fit(tt.values, tt.width)
		if s := Spark(got, 7); s != tt.want || per != tt.per {
			t.Errorf("%v in %d columns: %q, %d each, want %q, %d", tt.values, tt.width, s, per, tt.want, tt.per)
		}
	}
	// The largest survives any width.
	values := make([]float64, 1000)
	values[617] = 9
	for width := 1; width < 1100; width++ {
		got, _ := Fit(values, width)
		if Largest(got) != 9 || len(got) != width {
			t.Fatalf("%d columns, the largest %v", len(got), Largest(got))
		}
	}
}

func TestStep(t *testing.T) {
	for _, tt := range []struct {
		span time.Duration
		n    int
		want time.Duration
	}{
		{time.Hour, 60, time.Minute},
		{time.Hour, 59, 2 * time.Minute},
		{time.Minute, 100, time.Second},
		{90 * 24 * time.Hour, 60, 2 * 24 * time.Hour},
		{9000 * 24 * time.Hour, 10, 28 * 24 * time.Hour},
	} {
		if got := Step(tt.span, tt.n); got != tt.want {
			t.Errorf("Step(%v, %d) = %v, want %v", tt.span, tt.n, got, tt.want)
		}
	}
}

func TestAxis(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		t, err := time.ParseInLocation(time.DateTime, s, berlin)
		if err != nil {
			panic(err)
		}
		return t
	}
	for _, tt := range []struct {
		from, to string
		width    int
		want     string
	}{
		{"2026-11-23 13:30:00", "2026-11-23 14:30:00", 60, "╵13:30    ╵13:40    ╵13:50    ╵14:00    ╵14:10    ╵14:20"},
		{"2026-11-22 18:00:00", "2026-11-23 06:00:00", 48, "╵18:00      ╵21:00      ╵Nov 23     ╵03:00"},
		{"2026-11-23 13:30:20", "2026-11-23 13:30:50", 40, "╵13:30:20    ╵13:30:30    ╵13:30:40"},
		{"2026-11-01 12:00:00", "2026-11-29 12:00:00", 56, " ╵Nov  2       ╵Nov  9       ╵Nov 16       ╵Nov 23"},
		// The night when clocks go back has thirteen hours.
		{"2026-10-24 21:00:00", "2026-10-25 09:00:00", 52, "╵21:00      ╵Oct 25         ╵03:00      ╵06:00"},
		{"2026-11-23 13:30:00", "2026-11-23 13:30:00", 60, ""},
		{"2026-11-23 13:30:00", "2026-11-23 14:30:00", 4, ""},
	} {
		got := Axis(at(tt.from), at(tt.to), tt.width)
		if got != tt.want {
			t.Errorf("%s to %s in %d columns\n got %q\nwant %q", tt.from, tt.to, tt.width, got, tt.want)
		}
		if n := utf8.RuneCountInString(got); n > tt.width {
			t.Errorf("%d columns, want at most %d", n, tt.width)
		}
	}
}

func TestAxisFits(t *testing.T) {
	from := time.Date(2026, 11, 22, 23, 7, 11, 0, time.UTC)
	for span := time.Second; span < 300*24*time.Hour; span = span*7/4 + time.Millisecond {
		for width := range 200 {
			if n := utf8.RuneCountInString(Axis(from, from.Add(span), width)); n > width {
				t.Fatalf("%v in %d columns takes %d", span, width, n)
			}
		}
	}
}
