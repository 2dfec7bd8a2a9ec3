package tcp

import "time"

// Stamp is one moment on two clocks: Wall for display, Boot for durations. Wall
// may jump when the clock is set; Boot (CLOCK_BOOTTIME) never goes back. Both
// are in nanoseconds, Wall since 1970 UTC; the zero Stamp is unknown.
type Stamp struct{ Wall, Boot int64 }

// IsZero reports whether the moment is unknown.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// Sub returns the time from t to s, measured on the clock that does not jump.
func (s Stamp) Sub(t Stamp) time.Duration { return time.Duration(s.Boot - t.Boot) }

// At returns the stamp of another moment of the boot clock, given that s is now.
func (s Stamp) At(boot int64) Stamp {
	if boot == 0 {
		return Stamp{}
	}
	return Stamp{Wall: s.Wall - (s.Boot - boot), Boot: boot}
}

// Add returns the stamp d later.
func (s Stamp) Add(d time.Duration) Stamp {
	return Stamp{Wall: s.Wall + int64(d), Boot: s.Boot + int64(d)}
}

// Time returns the wall time in UTC.
func (s Stamp) Time() time.Time { return time.Unix(0, s.Wall).UTC() }
