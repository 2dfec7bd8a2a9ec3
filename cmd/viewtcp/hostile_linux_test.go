package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// hostileComm is a name of 15 bytes with an escape sequence, a newline, DEL, a C1
// control and a bidirectional override.
const hostileComm = "\x1b[2J\n\x7f\u009b\u202ehi\x07"

// hostileArgs are arguments of the same kind.
var hostileArgs = []string{"\x1b]0;owned\x07", "a\nb\rc\td", "\u202e\u2066txt.exe", "\u009b31m", "\xff\xfe", "\u200b\u2028"}

// playHostile renames the process, connects and waits for its standard input to
// end.
func playHostile(to string) error {
	// As PR_SET_NAME of prctl(2) by the first thread, whose name is the process's.
	if err := os.WriteFile("/proc/self/comm", []byte(hostileComm), 0); err != nil {
		return err
	}
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return err
	}
	if _, err := os.Stdout.WriteString("\n"); err != nil {
		return err
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	return nil
}

// harmful finds the first byte or rune that must not reach a terminal; lines may
// end, and colours are ours.
func harmful(out string, colours bool) string {
	if colours {
		for _, c := range []string{"0", "2", "31", "32", "33", "36"} {
			out = strings.ReplaceAll(out, "\x1b["+c+"m", "")
		}
		out = strings.ReplaceAll(out, "\r\n", "\n")
	}
	for i, r := range out {
		_, size := utf8.DecodeRuneInString(out[i:])
		bad := r == utf8.RuneError && size == 1 || r != '\n' && unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
		if bad {
			return strconv.Quote(out[max(0, i-40):min(len(out), i+40)])
		}
	}
	return ""
}

// TestHostileNames: whatever a process calls itself, nothing of it acts on a
// terminal or breaks a line, in any format.
func TestHostileNames(t *testing.T) {
	if len(hostileComm) > 15 {
		t.Fatalf("the name has %d bytes", len(hostileComm))
	}
	ns := tcptest.NewNetNS(t)
	_, at := serve(t, ns, tcptest.ServerConfig{Plain: true})
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", hostileArgs...)
	cmd.Args[0] = "\x1b[31m\nroot"
	cmd.Env = append(os.Environ(), actVariable+"=hostile "+at.Addr.String())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	inside(t, ns, func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	w := start(t, nil, "watch", "-v", "--netns", ns.Path(), "--columns", "process,cmdline,exe,pid")
	wj := start(t, nil, "watch", "-v", "-o", "jsonl", "--netns", ns.Path())
	wc := start(t, nil, "watch", "-v", "-o", "csv", "--netns", ns.Path())
	for _, p := range []*program{w, wj, wc} {
		p.until(t, "that watching has begun", func() bool { return p.said("watching, source ") })
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	lists := [][]string{
		{"-o", "table"},
		{"-o", "table", "--columns", "process,cmdline,exe"},
		{"-o", "wide"},
		{"-o", "wide", "--columns", "+cmdline"},
		{"-o", "csv"},
		{"-o", "json"},
		{"-o", "jsonl"},
		{"--color", "always"},
	}
	for _, source := range sourceNames {
		for _, args := range lists {
			r := viewtcp(t, append([]string{"list", "--source", source, "--netns", ns.Path(), "pid", "=", strconv.Itoa(cmd.Process.Pid)}, args...)...)
			if h := harmful(r.stdout+r.stderr, args[0] == "--color"); h != "" || r.code != exitOK {
				t.Errorf("%s %v: %s: %v", source, args, h, r.code)
			}
			lines := 1
			if args[0] != "-o" || !strings.HasPrefix(args[1], "json") {
				lines = 2
			} else if args[1] == "json" {
				lines = 3
			}
			if strings.Count(r.stdout, "\n") != lines {
				t.Errorf("%s %v: not %d lines: %q", source, args, lines, r.stdout)
			}
			if args[len(args)-1] == "jsonl" { // and nothing is lost to who can take it
				var row map[string]any
				if err := json.Unmarshal([]byte(r.stdout), &row); err != nil || row["process"] != hostileComm {
					t.Errorf("%v: process %q, want %q", err, row["process"], hostileComm)
				}
				if line, _ := row["cmdline"].(string); !strings.Contains(line, hostileArgs[0]) || !strings.Contains(line, hostileArgs[2]) {
					t.Errorf("cmdline %q", line)
				}
			}
		}
	}
	term := openTerminal(t, 300)
	_, wait := onTerminal(t, term, nil, "list", "--netns", ns.Path(), "--columns", "process,cmdline")
	wait()
	term.until(t, "owned")
	if h := harmful(term.printed(), true); h != "" {
		t.Errorf("on a terminal: %s", h)
	}
	// The name in an error of the filter comes back from the user, escaped too.
	if r := viewtcp(t, "list", "process = = "+hostileComm); r.code != exitUsage || harmful(r.stderr, false) != "" {
		t.Errorf("in an error: %s", harmful(r.stderr, false))
	}
	if r := viewtcp(t, "list", "--netns", "/x"+hostileComm); r.code != exitUsage || harmful(r.stderr, false) != "" {
		t.Errorf("in an error: %s", harmful(r.stderr, false))
	}
	stdin.Close()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != actCode {
		t.Errorf("the hostile process: %v", err)
	}
	for _, p := range []*program{w, wj, wc} {
		p.until(t, "the close", func() bool {
			for _, line := range p.lines {
				if strings.Contains(line, "closed") && strings.Contains(line, "hi") {
					return true
				}
			}
			return false
		})
		r := p.interrupt(t)
		if h := harmful(r.stdout+"\n"+r.stderr, false); h != "" {
			t.Errorf("%s: %s", p.name, h)
		}
	}
	var r result
	inside(t, ns, func() {
		r = viewtcpWith(t, []how{withEnv(actVariable + "=hostile " + at.Addr.String())},
			append([]string{"run", "--netns", "self", "--columns", "process,cmdline", "--", actor(t)}, hostileArgs...)...)
	})
	if h := harmful(r.stdout+r.stderr, false); h != "" || r.code != actCode || !strings.Contains(r.stdout, "hi") {
		t.Errorf("run: %s: %v", h, r)
	}
}
