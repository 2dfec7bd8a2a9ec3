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
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The captures of P6. Those of the second have twice the packets in the same
// number of connections, and are cut, since their payload would only take room.
var (
	analyzed = bigCapture{Short: 3000, Rounds: 1, Bulk: 4 << 20, Copies: 30}
	doubled  = bigCapture{Short: 3000, Rounds: 3, Bulk: 11 << 20, Copies: 30, Snap: 256}
	cutShort = bigCapture{Short: 3000, Rounds: 1, Bulk: 4 << 20, Copies: 30, Snap: 256}
)

// What P6 allows.
const (
	analyzeWall   = 2 * time.Second
	analyzeMemory = 150e6
	// analyzePackets is the size of the capture that the time is for.
	analyzePackets = 1.8e6
	// flat is how much more memory twice the packets may take.
	flat = 1.1
)

// spent is what one run of a program took.
type spent struct {
	wall, cpu time.Duration
	memory    uint64 // highest resident set, bytes
}

// measure runs a program to its end, its output thrown away by the kernel.
func measure(ctx context.Context, env []string, argv ...string) (s spent, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return s, err
	}
	defer null.Close()
	cmd.Stdout = null
	begin := time.Now()
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("%s: %w: %.300s", strings.Join(argv, " "), err, stderr.String())
	}
	s.wall = time.Since(begin)
	s.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if ru, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.memory = uint64(ru.Maxrss) << 10
	}
	return s, nil
}

// medianOf takes the median of each value by itself.
func medianOf(all []spent) spent {
	pick := func(of func(spent) int64) int64 {
		values := make([]int64, len(all))
		for i := range all {
			values[i] = of(all[i])
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return spent{
		wall:   time.Duration(pick(func(s spent) int64 { return int64(s.wall) })),
		cpu:    time.Duration(pick(func(s spent) int64 { return int64(s.cpu) })),
		memory: uint64(pick(func(s spent) int64 { return int64(s.memory) })),
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// perSecond is a rate of packets.
func perSecond(packets int64, d time.Duration) string {
	return fmt.Sprintf("%.2f M packets/s", float64(packets)/1e6/d.Seconds())
}

// measureAnalyze is P6: a capture of more than 1 GB, beside tcptrace and tshark.
func measureAnalyze(ctx context.Context, o *options) (*report, error) {
	r := &report{}
	dir := o.captures
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			cache = os.TempDir()
		}
		dir = filepath.Join(cache, "viewtcp-bench")
	}
	if o.clean {
		r.note("The captures in %s were removed.", dir)
		return r, removeCaptures(dir)
	}
	var paths [3]string
	var packets [3]int64
	for i, b := range [3]bigCapture{analyzed, cutShort, doubled} {
		var err error
		if paths[i], err = ensureCapture(ctx, dir, b); err != nil {
			return r, err
		}
		// Reading it all also brings it into the page cache for everyone.
		if packets[i], err = countPackets(paths[i]); err != nil {
			return r, err
		}
	}
	info, err := os.Stat(paths[0])
	if err != nil {
		return r, err
	}
	size := info.Size()
	ours := []string{o.viewtcp, "analyze", "-n", "-o", "jsonl", paths[0]}
	peers := [][]string{
		{"tcptrace", "-n", "-l", paths[0]}, // -n: it asks the DNS for each address
		{"tshark", "-n", "-q", "-z", "conv,tcp", "-r", paths[0]},
	}
	command := func(argv []string) string {
		return strings.ReplaceAll(strings.Join(argv, " "), dir+string(filepath.Separator), "")
	}

	lines, err := countLines(ctx, ours...)
	if err != nil {
		return r, err
	}
	what := fmt.Sprintf("%s packets, %.2f GB, %s connections", count(int(packets[0])), float64(size)/1e9, count(analyzed.conns()))
	r.add(row{
		what: what + ": rows printed", ours: count(lines), limit: "one for each connection",
		verdict: meets(lines == analyzed.conns()), command: "GOMAXPROCS=1 " + command(ours) + " >/dev/null",
	})

	var one, all []spent
	var theirs []string
	var wall, cpu, memory []string
	reps := min(o.reps, 5)
	for i := range reps {
		a, err := measure(ctx, []string{"GOMAXPROCS=1"}, ours...)
		if err != nil {
			return r, err
		}
		b, err := measure(ctx, nil, ours...)
		if err != nil {
			return r, err
		}
		one, all = append(one, a), append(all, b)
		// Each peer once, between our runs: they take a minute.
		if i >= len(peers) {
			continue
		}
		argv := peers[i]
		if _, err := exec.LookPath(argv[0]); err != nil {
			r.note("%s is missing, so that it is not measured.", argv[0])
			continue
		}
		p, err := measure(ctx, nil, argv...)
		if err != nil {
			r.note("%v", err)
			continue
		}
		wall = append(wall, argv[0]+" "+seconds(p.wall)+", "+perSecond(packets[0], p.wall))
		cpu = append(cpu, argv[0]+" "+seconds(p.cpu))
		memory = append(memory, argv[0]+" "+mib(p.memory))
		theirs = append(theirs, command(argv)+" >/dev/null")
	}
	single, many := medianOf(one), medianOf(all)
	limit := time.Duration(float64(analyzeWall) * float64(packets[0]) / analyzePackets)
	r.add(row{
		what: "wall on one core", ours: seconds(single.wall) + ", " + perSecond(packets[0], single.wall), peer: strings.Join(wall, "; "),
		limit: "≤ " + seconds(limit) + " (2.0 s for 1.8 M packets)", verdict: meets(single.wall <= limit),
	})
	r.add(row{what: "CPU", ours: seconds(single.cpu), peer: strings.Join(cpu, "; ")})
	r.add(row{
		what: "peak RSS", ours: mib(single.memory), peer: strings.Join(memory, "; "),
		limit: "≤ 150 MB", verdict: meets(single.memory <= analyzeMemory),
	})
	r.add(row{
		what: "with all cores", ours: fmt.Sprintf("%s wall, %s CPU, %s", seconds(many.wall), seconds(many.cpu), mib(many.memory)),
		command: command(ours) + " >/dev/null",
	})
	r.rows[len(r.rows)-1].command += "\n" + strings.Join(theirs, "\n")

	var cut [2]spent
	for i, path := range paths[1:] {
		var runs []spent
		for range min(o.reps, 3) {
			s, err := measure(ctx, []string{"GOMAXPROCS=1"}, o.viewtcp, "analyze", "-n", "-o", "jsonl", path)
			if err != nil {
				return r, err
			}
			runs = append(runs, s)
		}
		cut[i] = medianOf(runs)
	}
	r.add(row{
		what:  fmt.Sprintf("peak RSS with %.2f × the packets in as many connections", float64(packets[2])/float64(packets[1])),
		ours:  fmt.Sprintf("%s, %s with the fewer (frames cut at %d bytes)", mib(cut[1].memory), mib(cut[0].memory), doubled.Snap),
		limit: fmt.Sprintf("flat: ≤ %.1f ×", flat), verdict: meets(float64(cut[1].memory) <= flat*float64(cut[0].memory)),
	})
	return r, nil
}

// countPackets reads a pcap file of ours.
func countPackets(path string) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<20)
	if _, err := in.Discard(24); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	for {
		head, err := in.Peek(16)
		if errors.Is(err, io.EOF) && len(head) == 0 {
			return n, nil
		}
		if err == nil {
			_, err = in.Discard(16 + int(uint32(head[8])|uint32(head[9])<<8|uint32(head[10])<<16|uint32(head[11])<<24))
		}
		if err != nil {
			return n, fmt.Errorf("%s: packet %d: %w", path, n+1, err)
		}
		n++
	}
}

// countLines runs a program and counts the lines that it prints, without keeping
// them: the peak memory of programs started later counts from that of this one.
func countLines(ctx context.Context, argv ...string) (n int, err error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for {
		m, err := out.Read(buf)
		n += bytes.Count(buf[:m], []byte{'\n'})
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return n, fmt.Errorf("%s: %w: %.300s", strings.Join(argv, " "), err, stderr.String())
	}
	return n, nil
}
