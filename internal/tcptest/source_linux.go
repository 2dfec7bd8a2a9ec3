package tcptest

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/tcp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// patience bounds every wait for a source: many times what a slow one needs on
// a loaded machine.
const patience = 45 * time.Second

// TestSource is the conformance suite of tcp.Source. open returns a new source;
// the suite closes it. It needs root, ip, nft and ss.
func TestSource(t *testing.T, open func(t *testing.T) tcp.Source) {
	t.Helper()
	need.Root(t)
	need.Programs(t, "ip", "nft", "ss")
	s := suite{open: open}
	t.Run("features", s.features)
	t.Run("once", s.once)
	t.Run("run", s.run)
	t.Run("cancel", s.cancel)
	t.Run("sink error", s.sinkError)
	t.Run("leaks", s.leaks)
}

type suite struct {
	open func(t *testing.T) tcp.Source
}

func (s *suite) start(t *testing.T) tcp.Source {
	t.Helper()
	src := s.open(t)
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return src
}

func (s *suite) features(t *testing.T) {
	src := s.start(t)
	names := map[string]bool{}
	for _, f := range src.Features() {
		switch {
		case f.Name == "" || names[f.Name]:
			t.Errorf("feature without a name of its own: %+v", f)
		case !f.Available && (f.Reason == "" || f.Remedy == ""):
			t.Errorf("missing without a reason and a remedy: %+v", f)
		}
		names[f.Name] = true
	}
	if len(names) == 0 {
		t.Error("no features")
	}
}

// once: the same sockets as ss, with the same values and the right owners.
func (s *suite) once(t *testing.T) {
	src := s.start(t)
	scene := NewScene(t, 400)
	opts := CompareOptions{Ignore: scene.Foreign}
	if src.Kind() == tcp.SourceProcfs {
		opts.NoCookies, opts.KnownOnly = true, true
	}
	var observations []tcp.Observation
	AgreesWithSS(t, scene.Namespaces, opts, func() ([]Row, error) {
		check := Checker{Kind: src.Kind()}
		var rows []Row
		err := src.Once(t.Context(), func(b *tcp.Batch) error {
			check.Batch(b)
			for i := range b.Observations {
				rows = append(rows, RowOfObservation(&b.Observations[i]))
			}
			observations = append(observations, b.Observations...)
			return nil
		})
		return rows, errors.Join(err, check.Done(true))
	})
	checkNoNamespaceOpen(t)
	checkOwners(t, scene.Ledger, observations)
}

// checkOwners holds owners against the ledger: all processes are alive and
// visible, so that each must be known.
func checkOwners(t *testing.T, l Ledger, observations []tcp.Observation) {
	t.Helper()
	byEnds := map[[2]netip.AddrPort]*tcp.Observation{}
	cookies := map[uint64]*tcp.Observation{}
	for i := range observations {
		o := &observations[i]
		byEnds[observedEnds(o)] = o
		if o.Has&tcp.HasCookie != 0 {
			cookies[o.Cookie] = o
		}
	}
	wrong := 0
	for _, e := range l {
		o := byEnds[[2]netip.AddrPort{e.Local, e.Remote}]
		if len(cookies) > 0 {
			o = cookies[e.Cookie]
		}
		if o != nil && int(o.Owner.PID) == e.PID {
			continue
		}
		wrong++
		if wrong > 10 {
			continue
		}
		if o == nil {
			t.Errorf("%s -> %s of process %d is not shown", e.Local, e.Remote, e.PID)
		} else {
			t.Errorf("%s -> %s: pid %d (%s), the ledger says %d", e.Local, e.Remote, o.Owner.PID, o.Attribution, e.PID)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d owners are wrong", wrong, len(l))
	}
}

func observedEnds(o *tcp.Observation) [2]netip.AddrPort {
	return [2]netip.AddrPort{
		netip.AddrPortFrom(o.Local.IP(), o.LocalPort), netip.AddrPortFrom(o.Remote.IP(), o.RemotePort),
	}
}

// A running source, with all that it said.
type running struct {
	src    tcp.Source
	cancel context.CancelFunc
	done   chan error

	mu      sync.Mutex
	changed chan struct{}                // guarded by mu; closed at every batch
	check   Checker                      // guarded by mu
	seen    map[[2]netip.AddrPort]uint64 // guarded by mu; cookie, or 1
	closed  map[[2]netip.AddrPort]tcp.Observation
	passes  []walked // guarded by mu; the last is going on unless ended
}

// walked is one walk: which full sockets it showed.
type walked struct {
	pass tcp.Pass
	full map[[2]netip.AddrPort]bool
}

func runSource(t *testing.T, src tcp.Source) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{
		src: src, cancel: cancel, done: make(chan error, 1), changed: make(chan struct{}),
		check: Checker{Kind: src.Kind()},
		seen:  map[[2]netip.AddrPort]uint64{}, closed: map[[2]netip.AddrPort]tcp.Observation{},
	}
	go func() { r.done <- src.Run(ctx, r.sink) }()
	t.Cleanup(cancel)
	return r
}

func (r *running) sink(b *tcp.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check.Batch(b)
	walk := b.Pass.Kind != tcp.PassEvents
	if n := len(r.passes); walk && (n == 0 || r.passes[n-1].pass.End) {
		r.passes = append(r.passes, walked{full: map[[2]netip.AddrPort]bool{}})
	}
	for i := range b.Observations {
		o := &b.Observations[i]
		ends := observedEnds(o)
		if o.Kind == tcp.SeenClosed {
			r.closed[ends] = *o
			continue
		}
		if o.Mini {
			continue
		}
		if o.State == tcp.Established {
			r.seen[ends] = max(o.Cookie, 1)
		}
		if walk {
			r.passes[len(r.passes)-1].full[ends] = true
		}
	}
	if walk {
		p := &r.passes[len(r.passes)-1].pass
		*p = b.Pass
		p.Namespaces = slices.Clone(b.Pass.Namespaces)
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// until waits for a condition on what the source said.
func (r *running) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	timeout := time.After(patience)
	for {
		r.mu.Lock()
		met, changed := ok(), r.changed
		r.mu.Unlock()
		if met {
			return
		}
		select {
		case <-changed:
		case err := <-r.done:
			r.done <- err
			t.Fatalf("Run ended while waiting until %s: %v", what, err)
		case <-timeout:
			t.Fatalf("not seen in %s: %s", patience, what)
		}
	}
}

// stop cancels and waits for the end.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	select {
	case err := <-r.done:
		r.done <- err
		if err != nil {
			t.Errorf("Run: %v; the end of its context is no error", err)
		}
	case <-time.After(patience):
		t.Fatalf("Run goes on %s after its context ended", patience)
	}
}

// run: opened and closed connections show, in the own namespace and another.
func (s *suite) run(t *testing.T) {
	src := s.start(t)
	other := NewNetNS(t)
	type side struct {
		server, client *Child
		at             Listening
		ledger         Ledger
	}
	sides := []*side{{}, {}}
	for i, x := range sides {
		var opts []Option
		if i == 1 {
			opts = append(opts, InNetNS(other))
		}
		x.server = Start(t, "server", ServerConfig{Plain: true}, opts...)
		if err := x.server.Recv(&x.at); err != nil {
			t.Fatal(err)
		}
	}
	r := runSource(t, src)
	r.until(t, "the first full pass ended", func() bool { return r.check.FullPasses() > 0 })
	for i, x := range sides {
		var opts []Option
		if i == 1 {
			opts = append(opts, InNetNS(other))
		}
		x.client = Start(t, "client", ClientConfig{To: x.at.Addr, Count: 3, Send: 1000 + i}, opts...)
		var ends Ledger
		if err := x.client.Recv(&x.ledger); err != nil {
			t.Fatal(err)
		}
		if err := x.server.Call(Op{Op: "ledger"}, &ends); err != nil {
			t.Fatal(err)
		}
		x.ledger = append(x.ledger, ends...)
	}
	for _, x := range sides {
		for _, e := range x.ledger {
			k := [2]netip.AddrPort{e.Local, e.Remote}
			r.until(t, "ESTABLISHED shows: "+e.Local.String()+" -> "+e.Remote.String(), func() bool { return r.seen[k] != 0 })
		}
	}
	for _, x := range sides {
		if err := x.client.Call(Op{Op: "close"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	closed := host.Now()
	for _, x := range sides {
		for _, e := range x.ledger {
			k := [2]netip.AddrPort{e.Local, e.Remote}
			r.until(t, "the close shows: "+e.Local.String()+" -> "+e.Remote.String(), func() bool { return r.gone(k, closed) })
			r.mu.Lock()
			o, ok := r.closed[k]
			r.mu.Unlock()
			if ok {
				checkFinal(t, &e, &o)
			}
		}
	}
	checkNoNamespaceOpen(t)
	r.stop(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.check.Done(false); err != nil {
		t.Error(err)
	}
}

// gone reports whether a final record came, or a full walk begun after the
// close did not show the socket any more.
func (r *running) gone(k [2]netip.AddrPort, closed tcp.Stamp) bool {
	if _, ok := r.closed[k]; ok {
		return true
	}
	return slices.ContainsFunc(r.passes, func(w walked) bool {
		return w.pass.Kind == tcp.PassFull && w.pass.End && w.pass.Incomplete == "" && w.pass.Begin.Boot > closed.Boot && !w.full[k]
	})
}

// checkFinal holds a final record against the ledger.
func checkFinal(t *testing.T, e *End, o *tcp.Observation) {
	t.Helper()
	if o.Has&tcp.HasCookie != 0 && o.Cookie != e.Cookie {
		t.Errorf("final record of %s: cookie %d, the ledger says %d", e.Local, o.Cookie, e.Cookie)
	}
	if o.Owner.PID != 0 && int(o.Owner.PID) != e.PID {
		t.Errorf("final record of %s: pid %d, the ledger says %d", e.Local, o.Owner.PID, e.PID)
	}
	if o.Has&tcp.HasBytesSent != 0 && o.Metrics.BytesSent != e.Sent {
		t.Errorf("final record of %s: %d bytes sent, the ledger says %d", e.Local, o.Metrics.BytesSent, e.Sent)
	}
	over := o.Metrics.BytesReceived - e.Received
	if o.Has&tcp.HasBytesReceived != 0 && over != 0 && (over != 1 || !o.Inexact) {
		t.Errorf("final record of %s: %d bytes received (inexact %v), the ledger says %d", e.Local, o.Metrics.BytesReceived, o.Inexact, e.Received)
	}
}

// cancel: Run and Once end soon after their context, whenever that is.
func (s *suite) cancel(t *testing.T) {
	src := s.start(t)
	r := runSource(t, src)
	r.until(t, "the first batch", func() bool { return len(r.passes) > 0 })
	r.stop(t)

	r = runSource(t, src)
	r.stop(t)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan error, 1)
	go func() { done <- src.Once(ctx, func(*tcp.Batch) error { return nil }) }()
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Once of an ended context: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("Once goes on %s after its context ended", patience)
	}
}

// sinkError: the sink's error ends the walk and comes back.
func (s *suite) sinkError(t *testing.T) {
	src := s.start(t)
	errStop := errors.New("enough")
	calls := 0
	sink := func(*tcp.Batch) error {
		calls++
		return errStop
	}
	if err := src.Once(t.Context(), sink); !errors.Is(err, errStop) {
		t.Errorf("Once: %v, want the sink's error", err)
	}
	if calls != 1 {
		t.Errorf("the sink was called %d times, and wanted no more after the first", calls)
	}
	calls = 0
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := src.Run(ctx, sink); !errors.Is(err, errStop) {
		t.Errorf("Run: %v, want the sink's error", err)
	}
	if calls != 1 {
		t.Errorf("the sink was called %d times, and wanted no more after the first", calls)
	}
}

// leaks: nothing stays behind, however often a source is opened.
func (s *suite) leaks(t *testing.T) {
	round := func() {
		src := s.open(t)
		if err := src.Once(t.Context(), func(*tcp.Batch) error { return nil }); err != nil {
			t.Errorf("Once: %v", err)
		}
		r := runSource(t, src)
		r.until(t, "the first batch", func() bool { return len(r.passes) > 0 })
		r.stop(t)
		if err := src.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	round() // what is made once and kept, such as the runtime's poller
	fds, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 3 {
		round()
	}
	deadline := time.Now().Add(patience)
	for {
		f, g := openFiles(t), runtime.NumGoroutine()
		if len(f) <= len(fds) && g <= goroutines {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d open files, %d before: %v\n%d goroutines, %d before:\n%s",
				len(f), len(fds), f, g, goroutines, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// openFiles lists what this process's descriptors stand for.
func openFiles(t *testing.T) []string {
	t.Helper()
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	for _, n := range names {
		if link, err := os.Readlink("/proc/self/fd/" + n); err == nil {
			links = append(links, link)
		}
	}
	return links
}

// checkNoNamespaceOpen makes sure that no descriptor keeps a namespace, and
// with it its interfaces, alive between walks.
func checkNoNamespaceOpen(t *testing.T) {
	t.Helper()
	pinned := func(links []string) bool {
		return slices.ContainsFunc(links, func(l string) bool { return strings.HasPrefix(l, "net:[") })
	}
	// A walk may be going on: it has to end at some time.
	for range 50 {
		if !pinned(openFiles(t)) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("a descriptor pins a network namespace: %v", openFiles(t))
}
