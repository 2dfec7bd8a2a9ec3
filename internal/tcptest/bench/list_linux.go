package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// measureList is P1: what one list of n sockets costs, beside ss.
func measureList(ctx context.Context, o *options) (*report, error) {
	r := &report{}
	ours := []string{o.viewtcp, "list", "-n", "-o", "jsonl"}
	peer := []string{"ss", "-tinpaeOH"}
	var x, y, z []float64
	for _, n := range o.sizes {
		our, their, listed, err := listOnce(ctx, o, n, ours, peer)
		if err != nil {
			return r, err
		}
		ratio := float64(our) / float64(their)
		w := row{
			what: count(n) + " sockets, CPU", ours: ms(our), peer: "ss " + ms(their), command: strings.Join(ours, " "),
			limit: "", verdict: open,
		}
		w.ours += fmt.Sprintf(" (%.2f of ss; %s rows)", ratio, count(listed))
		if n == 20000 {
			w.limit, w.verdict = "≤ 1/3 of ss", meets(ratio <= 1.0/3)
		}
		r.add(w)
		if listed < n {
			r.note("The list of %s sockets had %s rows only.", count(n), count(listed))
		}
		x, y, z = append(x, float64(n)), append(y, float64(our)), append(z, float64(their))
	}
	if len(x) > 1 {
		perSocket, base := slope(x, y)
		theirs, _ := slope(x, z)
		r.add(row{
			what: "CPU more per socket, line of least squares", ours: microseconds(perSocket) + " over " + ms(time.Duration(base)),
			peer: "ss " + microseconds(theirs), limit: "≤ 6 µs", verdict: meets(perSocket <= 6000), command: strings.Join(peer, " "),
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

func listOnce(ctx context.Context, o *options, n int, ours, peer []string) (our, their time.Duration, listed int, err error) {
	hold, err := tcptest.HoldSockets(n)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, hold.Close()) }()
	if listed, err = linesOf(ctx, ours...); err != nil {
		return 0, 0, 0, err
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
				return 0, 0, 0, err
			}
			*side.to = append(*side.to, d)
		}
	}
	return median(a), median(b), listed, nil
}
