package tcp

import "context"

// View is how readers see live connections: the CLI, the TUI and the web.
type View interface {
	// Snapshot returns the latest published view. It never blocks.
	Snapshot() *Snapshot
	// Subscribe delivers events from now on. The reader must call Close.
	Subscribe(buffer int) Subscription
}

// Subscription is one reader's stream of events.
type Subscription interface {
	// Next appends the waiting events to dst, blocking until there is at least
	// one, ctx ends or the stream does (io.EOF). When the reader was too slow,
	// an event of type gap stands where events were dropped.
	Next(ctx context.Context, dst []Event) ([]Event, error)
	Close()
}
