package bpf

import (
	"testing"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

func TestMain(m *testing.M) { tcptest.Main(m) }
