package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// measureList is P1: what one list of n sockets costs, beside ss.
func measureList(ctx context.Context, o *options) (*report, error) {
	r := &report{}
	ours := []string{o.viewtcp, "list", "-n", "-o", "jsonl"}
	peer := []string{"ss", "-tinpaeOH"}
	commands := strings.Join(ours, " ") + "\n" + strings.Join(peer, " ")
	var x, y, z []float64
	if err := drained(ctx, r); err != nil {
		return r, err
	}
	for _, n := range o.sizes {
		our, their, listed, err := listOnce(ctx, o, n, ours, peer)
		if err != nil {
			return r, err
		}
		ratio := float64(our) / float64(their)
		w := row{
			what: count(n) + " sockets, CPU", command: commands,
			ours: fmt.Sprintf("%s, %.2f of ss (%s rows)", ms(our), ratio, count(listed[0])),
			peer: fmt.Sprintf("ss %s (%s rows)", ms(their), count(listed[1])),
		}
		if n == 20000 {
			w.limit, w.verdict = "≤ 1/3 of ss", meets(ratio <= 1.0/3)
		}
		r.add(w)
		if listed[0] < n {
			r.note("The list of %s sockets had %s rows only.", count(n), count(listed[0]))
		}
		x, y, z = append(x, float64(n)), append(y, float64(our)), append(z, float64(their))
	}
	if len(x) > 1 {
		perSocket, base := slope(x, y)
		theirs, _ := slope(x, z)
		r.add(row{
			what: "CPU more per socket, line of least squares", ours: microseconds(perSocket) + " over " + ms(time.Duration(base)),
			peer: "ss " + microseconds(theirs), limit: "≤ 6 µs", verdict: meets(perSocket <= 6000), command: commands,
		})
		last := len(x) - 1
		if x[last] >= 100_000 {
			// Linear: the way to the last size costs no more per socket than
			// the way to the one before it.
			first, _ := slope(x[:last], y[:last])
			beyond := (y[last] - y[last-1]) / (x[last] - x[last-1])
			r.add(row{
				what: fmt.Sprintf("CPU per socket from %s to %s", count(int(x[last-1])), count(int(x[last]))), ours: microseconds(beyond),
				limit: fmt.Sprintf("linear: ≤ 1.25 × %s", microseconds(first)), verdict: meets(beyond <= 1.25*first),
			})
		}
	}
	return r, nil
}

func listOnce(ctx context.Context, o *options, n int, ours, peer []string) (our, their time.Duration, listed [2]int, err error) {
	hold, err := tcptest.HoldSockets(n)
	if err != nil {
		return 0, 0, listed, err
	}
	defer func() { err = errors.Join(err, hold.Close()) }()
	for i, argv := range [][]string{ours, peer} {
		if listed[i], err = linesOf(ctx, argv...); err != nil {
			return 0, 0, listed, err
		}
	}
	var a, b []time.Duration
	for range o.reps {
		// In turn, so that what else the machine does meets both alike.
		for _, side := range []struct {
			argv []string
			to   *[]time.Duration
		}{{ours, &a}, {peer, &b}} {
			d, err := cpuOf(ctx, side.argv...)
			if err != nil {
				return 0, 0, listed, err
			}
			*side.to = append(*side.to, d)
		}
	}
	return median(a), median(b), listed, nil
}

// drained waits until the TIME_WAIT sockets of earlier storms are gone: they
// last a minute, and would be listed as well.
func drained(ctx context.Context, r *report) error {
	const few = 500
	left := 0
	for range 80 {
		b, err := os.ReadFile("/proc/net/sockstat")
		if err != nil {
			return err
		}
		if left = timeWait(string(b)); left < few {
			return nil
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	r.note("Other programs kept %s sockets in TIME_WAIT, which were listed too.", count(left))
	return nil
}

// timeWait reads the count out of /proc/net/sockstat, as in
// "TCP: inuse 5 orphan 0 tw 12 alloc 7 mem 1".
func timeWait(sockstat string) int {
	for line := range strings.Lines(sockstat) {
		f := strings.Fields(line)
		if len(f) > 0 && f[0] == "TCP:" {
			for i := 1; i+1 < len(f); i += 2 {
				if f[i] == "tw" {
					n, _ := strconv.Atoi(f[i+1])
					return n
				}
			}
		}
	}
	return 0
}
