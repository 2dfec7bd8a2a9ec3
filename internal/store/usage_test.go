package store_test

import (
	"strings"
	"testing"

	"github.com/viewtcp/viewtcp/internal/store"
)

// TestMeasures checks that each measure is described, and that its place on disk
// is the one it was given.
func TestMeasures(t *testing.T) {
	seen := make(map[string]bool)
	for m := range store.NumMeasures {
		i := m.Info()
		if i.Name == "" || i.Doc == "" || seen[i.Name] {
			t.Errorf("measure %d is %+v", m, i)
		}
		seen[i.Name] = true
		for unit, suffix := range map[string]string{"us": "_us", "bytes": "_bytes", "milli": "_milli"} {
			if (i.Unit == unit) != strings.HasSuffix(i.Name, suffix) && i.Name != "read_bytes" && i.Name != "written_bytes" {
				t.Errorf("measure %s has the unit %q", i.Name, i.Unit)
			}
		}
	}
	if store.NumMeasures > 64 {
		t.Errorf("%d measures do not fit into a word", store.NumMeasures)
	}
	for m, name := range map[store.Measure]string{
		0: "cpu_user_us", 7: "memory_bytes", 15: "tcp_sockets", 16: "pressure_cpu_us", 21: "listen_overflows",
		40: "rcvq_drop", 41: "tcp_memory_bytes", 47: "ephemeral_ports",
	} {
		if m.String() != name {
			t.Errorf("measure %d is %s, want %s", m, m, name)
		}
	}
	if store.NumMeasures.Info().Name != "" {
		t.Error("there is a measure beyond the last")
	}
}

// TestUsageValues tells zero from unknown.
func TestUsageValues(t *testing.T) {
	var u store.Usage
	if _, ok := u.Value(store.CPUUser); ok {
		t.Error("a value that nobody set is known")
	}
	u.Set(store.CPUUser, 0)
	if v, ok := u.Value(store.CPUUser); !ok || v != 0 {
		t.Errorf("got %d, %v; want a known 0", v, ok)
	}
	if _, ok := u.Value(store.NumMeasures); ok {
		t.Error("a measure beyond the last is known")
	}
}
