package parquet

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest/storetest"
)

func TestQuerier(t *testing.T) {
	storetest.TestQuerier(t, func(t *testing.T) storetest.Engine {
		t.Helper()
		e, err := Open(testConfig(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		return e
	})
}
