package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is the line that says where the figures come from.
func machine() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores (%s), Linux %s %s, %s, %s", runtime.NumCPU(), model,
		unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:]), runtime.Version(), time.Now().UTC().Format("2006-01-02"))
}

func buildViewTCP(ctx context.Context, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", to, "./cmd/viewtcp")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", to, err)
	}
	return nil
}

// cpuOf runs a program to its end, its output thrown away by the kernel, and
// returns the processor time that it took, by itself and in the kernel.
func cpuOf(ctx context.Context, argv ...string) (time.Duration, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = null, &stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %.300s", strings.Join(argv, " "), err, stderr.String())
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// linesOf runs a program and counts the lines that it prints.
func linesOf(ctx context.Context, argv ...string) (int, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return bytes.Count(out, []byte("\n")), nil
}

// A program that runs on while it is measured.
type program struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	done   chan struct{}
	err    error // valid when done is closed
}

// start runs a program with its output going to out; nil is nowhere. out is
// closed here.
func start(ctx context.Context, out *os.File, argv ...string) (*program, error) {
	if out == nil {
		var err error
		if out, err = os.OpenFile(os.DevNull, os.O_WRONLY, 0); err != nil {
			return nil, err
		}
	}
	p := &program{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, &p.stderr
	err := p.cmd.Start()
	_ = out.Close()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// cpu is the processor time that the process has taken since it began, all its
// threads together, by clock_gettime(2) on its own clock: /proc/PID/stat counts
// in 10 ms.
func (p *program) cpu() (time.Duration, error) {
	d, err := cpuOfPID(p.cmd.Process.Pid)
	if err != nil {
		select {
		case <-p.done:
			return 0, fmt.Errorf("%s ended: %w: %.300s", p.cmd.Path, errors.Join(p.err, err), p.stderr.String())
		default:
			return 0, fmt.Errorf("processor time of %s: %w", p.cmd.Path, err)
		}
	}
	return d, nil
}

func cpuOfPID(pid int) (time.Duration, error) {
	// CPUCLOCK_SCHED of include/linux/posix-timers_types.h.
	clock := int32(^pid<<3 | 2)
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, err
	}
	return time.Duration(ts.Nano()), nil
}

// memory is the resident set now and at its highest, in bytes.
func (p *program) memory() (now, peak uint64, err error) {
	f, err := os.Open("/proc/" + strconv.Itoa(p.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	return parseMemory(f)
}

func parseMemory(r io.Reader) (now, peak uint64, err error) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseUint(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			now = kib << 10
		case "VmHWM:":
			peak = kib << 10
		}
	}
	if now == 0 {
		return 0, 0, errors.Join(errors.New("no VmRSS"), sc.Err())
	}
	return now, peak, sc.Err()
}

// stop interrupts the program as Ctrl-C does, and waits for its end.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(unix.SIGINT)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
