package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/viewtcp/viewtcp/internal/disk"
	"github.com/viewtcp/viewtcp/internal/host"
	"github.com/viewtcp/viewtcp/internal/store/parquet"
	"github.com/viewtcp/viewtcp/internal/tcp"
	"github.com/viewtcp/viewtcp/internal/track"
)

// daemon is serve at work.
type daemon struct {
	e       env
	flags   *serveFlags
	dir     string
	log     *slog.Logger
	level   *slog.LevelVar
	manager *notifier
	started time.Time

	lock      *os.File
	token     string
	engine    *parquet.Engine // nil where no history is kept
	noStore   string          // why not
	history   *history        // nil likewise
	view      *liveView
	collect   *collection
	recorder  *packetRecorder
	around    *surroundings
	listening *listening
	web       *webServer

	mu  sync.Mutex
	cfg serveConfig // guarded by mu
	// reloaders are told of a configuration that counts from now on.
	reloaders []func(was, is *serveConfig)
}

const (
	// stopWithin bounds a graceful stop.
	stopWithin = 4500 * time.Millisecond
	// stopCatchUp is how long the source may take to tell of what has just
	// happened.
	stopCatchUp = 1500 * time.Millisecond
	// sameSignal is how long after a signal another one is taken for the same:
	// timeout(1), for one, sends it to the process and to its group.
	sameSignal = 300 * time.Millisecond
)

func newDaemon(e env, f *serveFlags, cfg serveConfig, dir string) *daemon {
	e.stderr = &lockedWriter{w: e.stderr}
	level := levelOf(&cfg)
	return &daemon{
		e: e, flags: f, dir: dir, cfg: cfg, level: level, log: newLogger(e.stderr, &cfg.log, level),
		manager: newNotifier(), started: time.Now(), view: newLiveView(),
	}
}

// run serves until ctx ends.
func (d *daemon) run(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	ended := make(chan error, 2)
	background, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := d.open(background); err != nil {
		return withRemedy(errors.Join(err, d.close()), d.dir)
	}
	var running sync.WaitGroup
	sources, stopSources := context.WithCancel(background)
	defer stopSources()
	collected := make(chan struct{})
	running.Go(func() {
		defer close(collected)
		ended <- d.collect.run(sources)
	})
	running.Go(func() {
		if err := d.web.serve(d.listening); err != nil {
			d.log.Error("the server ended", "err", err)
			ended <- err
		}
	})
	running.Go(func() { d.becomeReady(sources) })
	running.Go(func() { d.watchdog(background) })

	var failed error
	for serving := true; serving; {
		select {
		case <-ctx.Done():
			serving = false
		case failed = <-ended:
			serving = false
		case <-hup:
			d.reload(ctx)
		}
	}
	err := d.stop(func() { stopSources(); <-collected }, cancel, &running)
	if failed != nil {
		return errors.Join(failed, err)
	}
	if err != nil {
		return err
	}
	return exitError{exitOK} // a signal is how serve is meant to end
}

// open prepares everything and listens. What is not needed to go on is told of
// and left out.
func (d *daemon) open(ctx context.Context) (err error) {
	if d.lock, err = lockDataDir(d.dir); err != nil {
		return err
	}
	if d.token, err = makeToken(d.dir); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if d.listening, err = listen(ctx, &d.cfg); err != nil {
		return err
	}
	if err := d.openStore(); err != nil {
		return err
	}
	d.recorder = &packetRecorder{dir: filepath.Join(d.dir, packetsDir), log: d.log.With("component", "recorder"), view: d.view}
	d.collect = &collection{
		e: d.e, c: d.common(), log: d.log.With("component", "collector"), view: d.view, ready: make(chan struct{}),
		started: func(t *track.Tracker) {
			d.recorder.begin(t)
			if d.history != nil {
				d.history.begin(t)
			}
		},
		passed: func() {
			if d.history != nil {
				d.history.passed()
			}
			d.recorder.passed()
		},
	}
	d.collect.pick = d.collect.c.choice()
	d.collect.pick.interval = d.cfg.collect.interval
	if d.around, err = newSurroundings(d); err != nil {
		return err
	}
	if d.web, err = newWebServer(d); err != nil {
		return err
	}
	d.recorder.start(ctx, &d.cfg.packets)
	d.around.start(ctx, &d.cfg)
	d.reloaders = append(d.reloaders, d.reloadPackets(ctx), d.around.reload(ctx))
	return nil
}

// common are the flags by which the sources are opened and connections named.
func (d *daemon) common() *common {
	return &common{
		source: d.cfg.collect.source, netns: d.cfg.collect.netns, collector: d.cfg.collect.collector,
		noNames: !d.cfg.names.services,
	}
}

// openStore opens history. A disk without space is no reason not to watch.
func (d *daemon) openStore() error {
	if !d.cfg.store.enabled {
		d.noStore = "no history is kept: store.enabled is false"
		return nil
	}
	cfg := parquet.DefaultConfig()
	cfg.Dir, cfg.Logger = filepath.Join(d.dir, storeDir), d.log.With("component", "store")
	cfg.SealAge, cfg.Retention = d.cfg.store.sealAge, d.cfg.store.retention
	cfg.Damaged = d.cfg.store.damaged
	engine, err := parquet.Open(cfg)
	if disk.IsFull(err) {
		d.noStore = "no history is kept: " + err.Error()
		d.log.Error("no history is kept until the next start", "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	d.engine = engine
	for _, dm := range engine.Status().Damage {
		d.log.Error("stored data was damaged and set aside", "file", dm.File, "offset", dm.Offset, "bytes", dm.Bytes, "what", dm.What, "kept", dm.Kept)
	}
	d.history = newHistory(engine, hostname(), bootID(), d.log)
	return nil
}

// becomeReady tells everybody when the first pass has ended.
func (d *daemon) becomeReady(ctx context.Context) {
	info := daemonInfo{Address: d.listening.local.Addr().String(), PID: os.Getpid(), Started: d.started.UTC()}
	if err := writeDaemonInfo(d.dir, info); err != nil {
		d.log.Warn("other commands do not find this daemon by its data directory", "err", err)
	}
	d.tell("listening on " + d.listening.url() + "/")
	if d.cfg.log.format == "text" && !d.manager.managed() {
		// Once, for whoever started it; no log may have it.
		d.tell("open " + d.listening.url() + d.web.Launch() + " in a browser: it logs in once, within 15 minutes")
	}
	select {
	case <-d.collect.ready:
	case <-ctx.Done():
		return
	}
	for _, s := range d.summary() {
		d.tell(s)
	}
	if err := d.manager.ready(ctx, "serving "+d.listening.url()); err != nil {
		d.log.Warn("no service manager", "err", err)
	}
}

// tell says something to whoever started serve: as a sentence, or as a message
// where programs read.
func (d *daemon) tell(sentence string) {
	if d.cfg.log.format == "text" {
		d.e.warn(sentence)
	} else {
		d.log.Info("status", "text", sentence)
	}
}

// summary says what is collected and where it goes, and what is missing.
func (d *daemon) summary() (lines []string) {
	st := d.view.status()
	s := d.view.Snapshot().Stats
	lines = append(lines, fmt.Sprintf("collecting with %s: %d connections open, %d listeners", st.Source, s.Open, s.Listening))
	if st.Warning != "" {
		lines = append(lines, st.Warning)
	}
	lines = append(lines, d.recorder.where())
	if d.engine == nil {
		return append(lines, d.noStore)
	}
	var rows uint64
	for _, t := range d.engine.Status().Tables {
		rows += t.Rows
	}
	rows += d.engine.Status().Unsealed
	return append(lines, fmt.Sprintf("history in %s, %d rows so far", filepath.Join(d.dir, storeDir), rows))
}

// missing are the sentences that say what cannot be shown here.
func (d *daemon) missing() string {
	var parts []string
	if w := d.view.status().Warning; w != "" {
		parts = append(parts, w)
	}
	if err := d.view.status().Err; err != nil {
		parts = append(parts, "connections were not followed for a while: "+err.Error())
	}
	if d.noStore != "" {
		parts = append(parts, d.noStore)
	}
	return strings.Join(parts, "; ")
}

// watchdog tells the service manager that rows are made, as often as it wants.
func (d *daemon) watchdog(ctx context.Context) {
	every := d.manager.watchdog
	if every <= 0 {
		return
	}
	ticker := time.NewTicker(max(every/2, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if h := d.history; h != nil && now.UnixNano()-h.beat.Load() > int64(max(every, time.Second)) {
				d.log.Warn("no rows were made for long: the watchdog is not told that all is well")
				continue
			}
			if err := d.manager.alive(ctx); err != nil {
				d.log.Debug("watchdog", "err", err)
			}
		}
	}
}

// reload reads the configuration again, and does what it says now as far as that
// needs no restart.
func (d *daemon) reload(ctx context.Context) {
	if err := d.manager.reloading(ctx); err != nil {
		d.log.Debug("reloading", "err", err)
	}
	defer func() {
		if err := d.manager.ready(ctx, "serving "+d.listening.url()); err != nil {
			d.log.Debug("reloaded", "err", err)
		}
	}()
	is, err := d.flags.load()
	if err != nil {
		d.log.Error("the configuration is wrong and stays as it was", "err", err)
		return
	}
	d.mu.Lock()
	was := d.cfg
	now := was
	keys := changedKeys(&was, &is)
	for i := range keys {
		k := &keys[i]
		if !k.reload {
			d.log.Warn("this change needs a restart", "key", k.name, "is", k.get(&was), "will_be", k.get(&is))
			continue
		}
		d.log.Info("changed", "key", k.name, "from", k.get(&was), "to", k.get(&is))
	}
	now.packets, now.log.level, now.others = is.packets, is.log.level, is.others
	d.cfg = now
	d.mu.Unlock()
	d.level.Set(now.log.level)
	for _, tell := range d.reloaders {
		tell(&was, &now)
	}
	d.log.Info("configuration read again", "file", is.path, "changed", len(keys))
}

// reloadPackets returns what records as a new configuration says.
func (d *daemon) reloadPackets(ctx context.Context) func(was, is *serveConfig) {
	return func(was, is *serveConfig) {
		if !slices.ContainsFunc(changedKeys(was, is), func(k serveKey) bool { return strings.HasPrefix(k.name, "packets.") }) {
			return
		}
		d.recorder.end()
		d.recorder.start(ctx, &is.packets)
		d.log.Info("packets", "text", d.recorder.where())
	}
}

// stop ends everything in order: no new requests, then the source, then what it
// told is made rows of and appended, and then the engine. A second signal ends the
// process at once.
func (d *daemon) stop(stopSources, stopAll func(), running *sync.WaitGroup) error {
	impatient := make(chan os.Signal, 1)
	signal.Notify(impatient, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(impatient)
	stopped := make(chan struct{})
	defer close(stopped)
	begun := host.Now()
	go func() {
		for {
			select {
			case <-impatient:
			case <-stopped:
				return
			}
			if host.Now().Boot-begun.Boot >= int64(sameSignal) {
				d.log.Warn("a second signal: ending at once")
				os.Exit(exitInterrupted)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	if err := d.manager.stopping(ctx); err != nil {
		d.log.Debug("stopping", "err", err)
	}
	d.forget()
	var parts sync.WaitGroup
	parts.Go(func() { d.web.stop(ctx) })
	d.catchUp(ctx, begun)
	stopSources()
	parts.Go(d.recorder.end)
	d.around.end() // its rows are history's
	if d.history != nil {
		d.history.stop(ctx)
	}
	parts.Wait()
	if t, _ := d.view.current(); t != nil {
		t.End()
	}
	stopAll()
	running.Wait()
	err := d.close()
	d.log.Info("stopped", "after", time.Since(d.started).Round(time.Second), "took", time.Duration(host.Now().Boot-begun.Boot).Round(time.Millisecond))
	return err
}

// catchUp waits until the source has told what happened until a moment.
func (d *daemon) catchUp(ctx context.Context, until tcp.Stamp) {
	select {
	case <-d.collect.ready:
	default:
		return // it has not begun
	}
	ctx, cancel := context.WithTimeout(ctx, stopCatchUp)
	defer cancel()
	d.collect.caughtUp(ctx, until)
}

// forget takes daemon.json away, so that nobody asks a daemon that ends.
func (d *daemon) forget() {
	if err := os.Remove(filepath.Join(d.dir, daemonFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Warn("what says where this daemon listens stays behind", "err", err)
	}
}

// close gives back what open took, in reverse.
func (d *daemon) close() error {
	var errs []error
	if d.recorder != nil {
		d.recorder.end()
	}
	if d.around != nil {
		d.around.end()
	}
	if d.web != nil {
		d.web.Close()
	}
	if d.listening != nil {
		errs = append(errs, d.listening.close())
	}
	if d.history != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		d.history.stop(ctx)
		cancel()
	}
	if d.engine != nil {
		errs = append(errs, d.engine.Close())
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}
