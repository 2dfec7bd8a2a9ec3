package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// measureStorm is P4: short connections, each of which must be reported with
// its process and its exact bytes.
func measureStorm(ctx context.Context, o *options) (*report, error) {
	r := &report{}
	watch := []string{o.viewtcp, "watch", "-n", "-o", "jsonl"}
	if err := stormUnder(ctx, o, r, watch, true); err != nil {
		return r, err
	}
	// The same without a line to print: what collecting and following costs.
	if err := stormUnder(ctx, o, r, append(watch, "--events", "closed", "has(pid) and local_port == 1"), true); err != nil {
		return r, err
	}
	if err := stormUnder(ctx, o, r, append(watch, "--source", "netlink"), false); err != nil {
		return r, err
	}
	return r, stormPolled(ctx, o, r)
}

func stormConfig(o *options) tcptest.StormConfig {
	return tcptest.StormConfig{
		Connections: o.storm, Rate: o.rate, Modes: tcptest.CloseModes(),
		Sent: [2]int{100, 199}, Reply: [2]int{50, 349},
	}
}

// tally holds events against the ledger.
type tally struct {
	closes, twice                                      int
	pidRight, pidWrong, pidUnknown                     int
	bytesRight, bytesInexact, bytesUnknown, bytesWrong int
	example                                            string
}

func tallyOf(l tcptest.Ledger, closed []event) tally {
	var t tally
	byCookie := l.ByCookie()
	seen := make(map[uint64]bool, len(closed))
	for i := range closed {
		ev := &closed[i]
		e := byCookie[ev.Cookie]
		if e == nil {
			continue // somebody else's
		}
		if seen[ev.Cookie] {
			t.twice++
			continue
		}
		seen[ev.Cookie] = true
		t.closes++
		switch ev.PID {
		case 0:
			t.pidUnknown++
		case e.PID:
			t.pidRight++
		default:
			t.pidWrong++
		}
		received := e.Received
		switch {
		case ev.Sent == nil && ev.Received == nil && !ev.Complete:
			t.bytesUnknown++
		case ev.Sent == nil || ev.Received == nil:
			t.bytesWrong++
		case *ev.Sent == e.Sent && *ev.Received == received:
			t.bytesRight++
		case *ev.Sent == e.Sent && *ev.Received == received+1 && !ev.Complete:
			t.bytesInexact++ // a FIN may be counted, and the row says so
		default:
			t.bytesWrong++
			if t.example == "" {
				t.example = fmt.Sprintf("%s end closed by %s: sent %d, received %d; the ledger has %d and %d",
					e.Side, e.Close, *ev.Sent, *ev.Received, e.Sent, e.Received)
			}
		}
	}
	return t
}

// stormUnder runs one storm while ViewTCP watches.
func stormUnder(ctx context.Context, o *options, r *report, argv []string, exact bool) (err error) {
	storm, err := tcptest.StartStorm(stormConfig(o))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storm.Close()) }()
	stats, err := startBPFStats()
	if err != nil {
		r.note("BPF run time is not measured: %v", err)
	}
	defer stats.close()
	silent := strings.Contains(strings.Join(argv, " "), "local_port == 1")
	w, err := startWatch(ctx, argv)
	if err != nil {
		return err
	}
	defer w.p.stop()
	if silent {
		err = sleep(ctx, settle)
	} else {
		err = w.ready(ctx)
	}
	if err != nil {
		return err
	}
	bpf0 := stats.read()
	cpu0, err := w.p.cpu()
	if err != nil {
		return err
	}
	result, err := storm.Run()
	if err != nil {
		return err
	}
	if silent {
		err = sleep(ctx, 2*time.Second)
	} else {
		err = w.closes(ctx, result.Ledger)
	}
	if err != nil {
		return err
	}
	cpu1, err := w.p.cpu()
	if err != nil {
		return err
	}
	bpf1 := stats.read()
	pairs := float64(o.storm)
	command := strings.Join(argv, " ")
	if silent {
		command = o.viewtcp + " watch -n -o jsonl --events closed 'has(pid) and local_port == 1'"
	}
	consumer := float64(cpu1-cpu0) / pairs
	if silent {
		r.add(row{
			what: "CPU of ViewTCP per pair, every connection followed, none printed", ours: microseconds(consumer),
			limit: "≤ 6 µs", verdict: meets(consumer <= 6000), command: command,
		})
		return nil
	}
	ends := 2 * o.storm
	t := tallyOf(result.Ledger, w.events())
	name := "eBPF"
	if !exact {
		name = "netlink"
	}
	rate := pairs / result.Elapsed.Seconds()
	r.add(row{
		what: fmt.Sprintf("%s: closes of %s connections (%.0f a second, the longest %s), both ends here", name, count(o.storm), rate, ms(result.Longest)),
		ours: fmt.Sprintf("%s of %s", count(t.closes), count(ends)), limit: "all", verdict: meets(t.closes == ends && t.twice == 0), command: command,
	})
	pid := row{
		what: name + ": with the right process", command: command,
		ours: fmt.Sprintf("%s right, %s wrong, %s unknown", count(t.pidRight), count(t.pidWrong), count(t.pidUnknown)),
	}
	bytes := row{
		what: name + ": with the exact payload bytes", command: command,
		ours: fmt.Sprintf("%s exact, %s marked as up to 1 high, %s unknown, %s wrong",
			count(t.bytesRight), count(t.bytesInexact), count(t.bytesUnknown), count(t.bytesWrong)),
	}
	if exact {
		pid.limit, pid.verdict = "all", meets(t.pidRight == ends)
		bytes.limit, bytes.verdict = "all", meets(t.bytesRight == ends)
	} else {
		pid.limit, pid.verdict = "none wrong", meets(t.pidWrong == 0)
		bytes.limit, bytes.verdict = "none wrong", meets(t.bytesWrong == 0)
	}
	r.add(pid)
	r.add(bytes)
	if t.example != "" {
		r.note("Bytes that differ, for example: %s.", t.example)
	}
	if gaps := w.gaps(); len(gaps) > 0 {
		r.note("%s told of %d gaps, the first is `%s`.", name, len(gaps), gaps[0])
	}
	if exact && stats != nil {
		spent, runs := bpf1.sub(bpf0)
		r.add(row{
			what: "BPF run time per pair, programs at tracepoints", ours: fmt.Sprintf("%s in %.1f runs", microseconds(float64(spent)/pairs), float64(runs)/pairs),
			limit: "≤ 6 µs", verdict: meets(float64(spent)/pairs <= 6000), command: command,
		})
	}
	consumerRow := row{
		what: name + ": CPU of ViewTCP per pair, six events printed as JSON", ours: microseconds(consumer), command: command,
	}
	if exact {
		consumerRow.limit, consumerRow.verdict = "≤ 6 µs", meets(consumer <= 6000)
	}
	r.add(consumerRow)
	return nil
}

// stormPolled runs one storm while ss is called every 100 ms.
func stormPolled(ctx context.Context, o *options, r *report) (err error) {
	storm, err := tcptest.StartStorm(stormConfig(o))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storm.Close()) }()
	polling, stop := context.WithCancel(ctx)
	defer stop()
	type seen struct {
		cookies map[uint64]int // pid, 0 if unknown
		polls   int
		err     error
	}
	polled := make(chan seen, 1)
	go func() {
		s := seen{cookies: make(map[uint64]int)}
		for polling.Err() == nil && s.err == nil {
			var rows []tcptest.SSRow
			rows, s.err = tcptest.SSWithUsers(ctx, nil)
			s.polls++
			for i := range rows {
				if rows[i].Mini() {
					continue // TIME_WAIT tells of neither bytes nor process
				}
				pid := s.cookies[rows[i].Cookie]
				if len(rows[i].Users) > 0 {
					pid = rows[i].Users[0].PID
				}
				s.cookies[rows[i].Cookie] = pid
			}
			_ = sleep(polling, 100*time.Millisecond)
		}
		polled <- s
	}()
	result, err := storm.Run()
	stop()
	s := <-polled
	if err := errors.Join(err, s.err); err != nil {
		return err
	}
	found, withPID := 0, 0
	for cookie, e := range result.Ledger.ByCookie() {
		if pid, ok := s.cookies[cookie]; ok {
			found++
			if pid == e.PID {
				withPID++
			}
		}
	}
	r.add(row{
		what:    fmt.Sprintf("the same, polled every 100 ms (%d times): ends ever seen but as TIME_WAIT", s.polls),
		peer:    fmt.Sprintf("ss %s of %s, %s with their process", count(found), count(2*o.storm), count(withPID)),
		command: "while sleep 0.1; do ss -tinpaeOH; done",
	})
	return nil
}
