package tui

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest/demo"
)

// TestViews draws each view in sizes from the smallest useful one to a large one.
func TestViews(t *testing.T) {
	for _, size := range []struct {
		name          string
		width, height int
	}{{"80x24", 80, 24}, {"120x36", 120, 36}, {"220x60", 220, 60}} {
		t.Run(size.name, func(t *testing.T) {
			s := open(t, size.width, size.height, demo.Host(), nil)
			s.step(30)
			s.frame("connections-" + size.name)
			s.press("a")
			s.until("BY PROCESS")
			s.press(" ")
			s.until("▾ nginx")
			s.frame("groups-" + size.name)
			s.press("o")
			s.until("Open connections")
			s.frame("overview-" + size.name)
			s.press("\x1b1/process rsync\r\r") // Alt-1
			s.until("Last minutes")
			s.step(3)
			s.frame("detail-" + size.name)
			s.press("?")
			s.until("Everywhere")
			s.frame("help-" + size.name)
		})
	}
}

// TestThemes draws the same screen in each theme, with its colors.
func TestThemes(t *testing.T) {
	for _, th := range themes {
		t.Run(th.name, func(t *testing.T) {
			s := open(t, 100, 20, demo.Host(), func(c *Config) { c.Layout.Theme = th.name })
			s.step(9)
			s.press("\x1b[B")
			s.styledFrame("theme-" + th.name)
		})
	}
	t.Run("sixteen colors", func(t *testing.T) {
		s := open(t, 100, 20, demo.Host(), func(c *Config) { c.Colors = Colors16 })
		s.step(9)
		s.styledFrame("theme-dark16")
	})
	t.Run("NO_COLOR", func(t *testing.T) {
		s := open(t, 100, 20, demo.Host(), func(c *Config) { c.Colors = NoColors })
		s.step(9)
		s.styledFrame("theme-nocolor")
	})
	t.Run("ASCII", func(t *testing.T) {
		s := open(t, 100, 30, demo.Host(), func(c *Config) { c.ASCII = true })
		s.step(9)
		s.frame("ascii-connections")
		s.press("o")
		s.until("Open connections")
		s.frame("ascii-overview")
	})
}
