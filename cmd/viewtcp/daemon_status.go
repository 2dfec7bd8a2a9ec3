package main

import (
	"sync"

	"github.com/viewtcp/viewtcp/internal/tui"
)

// daemonStatus is how the collection goes that a daemon does, for the live view.
type daemonStatus struct {
	mu    sync.Mutex
	state tui.Status
}

// tell notes that the daemon was lost, or is back.
func (s *daemonStatus) tell(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Err = err
}

func (s *daemonStatus) now() tui.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}
