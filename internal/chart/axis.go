package chart

import (
	"time"
	"unicode/utf8"
)

// steps are the lengths that buckets and labels of an axis may have.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 2 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 28 * 24 * time.Hour,
}

// Step is the shortest usual length of time of which at most n make up a span.
func Step(span time.Duration, n int) time.Duration {
	for _, s := range steps {
		if int64(span) <= int64(s)*int64(max(n, 1)) {
			return s
		}
	}
	return steps[len(steps)-1]
}

// labelRoom is the fewest columns from one label of an axis to the next.
const labelRoom = 10

// Axis is the line below a chart whose columns go from one moment to another: a
// tick and a label at round times of the zone of from.
func Axis(from, to time.Time, width int) string {
	span := to.Sub(from)
	if width <= 0 || span <= 0 {
		return ""
	}
	step := Step(span, max(width/labelRoom, 1))
	line := make([]rune, width)
	for i := range line {
		line[i] = ' '
	}
	free := 0
	for _, t := range ticks(from, to, step) {
		x := int(float64(t.Sub(from)) / float64(span) * float64(width))
		label := "╵" + label(t, step)
		n := utf8.RuneCountInString(label)
		if x < free || x+n > width {
			continue
		}
		copy(line[x:], []rune(label))
		free = x + n + 1
	}
	for len(line) > 0 && line[len(line)-1] == ' ' {
		line = line[:len(line)-1]
	}
	return string(line)
}

// ticks are the multiples of step since the beginning of each local day, or days.
func ticks(from, to time.Time, step time.Duration) []time.Time {
	const most = 1000
	y, m, d := from.Date()
	day := func(i int) time.Time { return time.Date(y, m, d+i, 0, 0, 0, 0, from.Location()) }
	var ts []time.Time
	if step >= 24*time.Hour {
		days := int(step / (24 * time.Hour))
		for i := 0; len(ts) < most; i += days {
			t := day(i)
			if !t.Before(to) {
				break
			}
			if !t.Before(from) {
				ts = append(ts, t)
			} else if i == 0 && days > 1 {
				i = 1 - days // the first whole day has a label
			}
		}
		return ts
	}
	for i := 0; len(ts) < most; i++ {
		begin, end := day(i), day(i+1)
		if !begin.Before(to) {
			break
		}
		n := max(int(from.Sub(begin)/step)-int(time.Hour/step)-1, 0) // clocks may have been set
		for t := begin; len(ts) < most; n++ {
			t = since(begin, time.Duration(n)*step, step)
			if !t.Before(end) || !t.Before(to) {
				break
			}
			if !t.Before(from) {
				ts = append(ts, t)
			}
		}
	}
	return ts
}

// since is the time after the beginning of a day, by its clocks where they may
// have been set meanwhile and the hours should be round.
func since(day time.Time, d, step time.Duration) time.Time {
	if step < time.Hour {
		return day.Add(d)
	}
	y, m, dd := day.Date()
	return time.Date(y, m, dd, int(d/time.Hour), 0, 0, 0, day.Location())
}

func label(t time.Time, step time.Duration) string {
	switch {
	case step >= 24*time.Hour, t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0:
		return t.Format("Jan _2")
	case step < time.Minute:
		return t.Format("15:04:05")
	default:
		return t.Format("15:04")
	}
}
