package tcptest

import "testing"

func TestMain(m *testing.M) { Main(m, Role{Name: "captures", Run: capturesRole}) }
