package tui

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// Run shows connections until the user quits or ctx ends; neither is an error.
// The terminal is as before when it returns, and all that it started has ended.
func Run(ctx context.Context, cfg Config) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m, err := newModel(ctx, cfg)
	if err != nil {
		return err
	}
	intervals := make(chan time.Duration, 1)
	m.intervals = intervals
	profile := colorprofile.ANSI256
	switch {
	case cfg.Colors == NoColors:
		profile = colorprofile.ASCII
	case cfg.Colors < Colors256:
		profile = colorprofile.ANSI
	}
	p := tea.NewProgram(m, tea.WithInput(cfg.Input), tea.WithOutput(cfg.Output), tea.WithEnvironment(cfg.Environ),
		tea.WithColorProfile(profile), tea.WithFPS(cfg.FPS), tea.WithoutSignalHandler())

	m.send = p.Send

	followed := make(chan error, 1)
	go func() {
		defer p.Quit() // a no-op when that is why we are here
		followed <- guard(func() { follow(ctx, &cfg, intervals, func(msg feedMsg) { p.Send(msg) }) })
	}()
	_, err = p.Run()
	stop()
	ferr := <-followed
	if m.capture != nil {
		m.capture.stop()
	}
	m.running.Wait()
	if err != nil {
		err = fmt.Errorf("terminal: %w", err)
	}
	return errors.Join(m.failed, err, ferr, m.status.Err)
}

// PanicError is a mistake of the program itself. The terminal is in order when Run
// returns it.
type PanicError struct {
	Value any
	// Stack is that of the goroutine, as debug.Stack writes it.
	Stack []byte
}

// Error implements error.
func (e *PanicError) Error() string { return fmt.Sprintf("a mistake of the program: %v", e.Value) }

// Unwrap is the error that the program panicked with, if it was one.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// guard runs a function and makes an error of its panic, so that the terminal is
// put in order as at any other end.
func guard(fn func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	fn()
	return nil
}
