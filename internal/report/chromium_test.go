package report

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

// browser drives a headless Chromium through the DevTools protocol, over the
// pipe that --remote-debugging-pipe makes of descriptors 3 and 4: messages are
// JSON, each ended by a zero byte. It is for one goroutine.
type browser struct {
	t       *testing.T
	in      *os.File
	out     *bufio.Reader
	id      int
	session string
	// problems are messages of the console, exceptions and requests other than
	// for the page itself.
	problems []string
}

// newBrowser starts Chromium with one blank page of the given size.
func newBrowser(t *testing.T, width, height int, args ...string) *browser {
	t.Helper()
	need.Programs(t, "chromium")
	toBrowser, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	//nolint:usetesting // children of the browser write into it after the test
	profile, err := os.MkdirTemp("", "viewtcp-chromium-")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "chromium", append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
		"--user-data-dir=" + profile, fmt.Sprintf("--window-size=%d,%d", width, height),
	}, append(args, "about:blank")...)...)
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = toBrowser.Close()
	_ = fromBrowser.Close()
	b := &browser{t: t, in: in, out: bufio.NewReaderSize(out, 1<<20)}
	t.Cleanup(func() {
		_, _ = in.WriteString(`{"id":999999,"method":"Browser.close"}` + "\x00")
		_ = in.Close()
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
		_ = out.Close()
		// Its children write into the profile for a moment longer.
		for range 100 {
			if os.RemoveAll(profile) == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	if err := out.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Logf("without a deadline for the browser's answers: %v", err)
	}

	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	b.call("Target.getTargets", nil, &targets)
	for _, ti := range targets.TargetInfos {
		if ti.Type == "page" {
			var attached struct{ SessionID string }
			b.call("Target.attachToTarget", map[string]any{"targetId": ti.TargetID, "flatten": true}, &attached)
			b.session = attached.SessionID
		}
	}
	if b.session == "" {
		t.Fatal("the browser has no page")
	}
	b.call("Runtime.enable", nil, nil)
	b.call("Log.enable", nil, nil)
	b.call("Network.enable", nil, nil)
	b.call("Page.enable", nil, nil)
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	return b
}

type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// call sends a command and decodes its answer into result, if not nil.
func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.id++
	text, err := json.Marshal(struct {
		ID        int    `json:"id"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
		SessionID string `json:"sessionId,omitempty"`
	}{b.id, method, params, b.session})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		m := b.next(method)
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// next reads a message and takes note of what must not be.
func (b *browser) next(during string) message {
	b.t.Helper()
	text, err := b.out.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("%s: reading from the browser: %v", during, err)
	}
	var m message
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		b.t.Fatalf("%s: %v", during, err)
	}
	switch m.Method {
	case "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded":
		b.problems = append(b.problems, m.Method+": "+string(m.Params))
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		if err := json.Unmarshal(m.Params, &p); err != nil {
			b.t.Fatal(err)
		}
		if u := p.Request.URL; !strings.HasPrefix(u, "file:") && !strings.HasPrefix(u, "data:,") {
			b.problems = append(b.problems, "request: "+u)
		}
	}
	return m
}

// open loads a file and waits until its script has run.
func (b *browser) open(path, fragment string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": "file://" + path + fragment}, nil)
	b.until(`document.readyState === 'complete' && document.querySelector('#shown') && document.querySelector('#shown').textContent !== ''`)
}

// eval runs an expression and returns its value; promises are awaited.
func (b *browser) eval(expression string) any {
	b.t.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if e := r.ExceptionDetails; e != nil {
		b.t.Fatalf("%s: %s %s", expression, e.Text, e.Exception.Description)
	}
	return r.Result.Value
}

// until waits for a condition.
func (b *browser) until(condition string) {
	b.t.Helper()
	for range 500 {
		if b.eval(condition) == true {
			return
		}
		b.frame()
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatalf("it never became true that %s\n%s", condition, strings.Join(b.problems, "\n"))
}

// frame waits for the page to have drawn what the last event asked for.
func (b *browser) frame() {
	b.t.Helper()
	b.eval(`new Promise(r => { requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(r, 10))); setTimeout(r, 2000); })`)
}

// screenshot writes what is in sight as a PNG.
func (b *browser) screenshot(path string, whole bool) {
	b.t.Helper()
	var r struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": whole}, &r)
	data, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// media emulates a colour scheme, or print.
func (b *browser) media(medium, scheme string) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{
		"media": medium, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	}, nil)
	b.frame()
}

// mouse moves, presses, releases or turns the wheel.
func (b *browser) mouse(kind string, x, y float64, extra map[string]any) {
	b.t.Helper()
	p := map[string]any{"type": kind, "x": x, "y": y}
	maps.Copy(p, extra)
	b.call("Input.dispatchMouseEvent", p, nil)
}

// key presses a key.
func (b *browser) key(key string) {
	b.t.Helper()
	p := map[string]any{"type": "keyDown", "key": key, "code": key}
	if len(key) == 1 {
		p["text"] = key
	}
	b.call("Input.dispatchKeyEvent", p, nil)
	p["type"] = "keyUp"
	b.call("Input.dispatchKeyEvent", p, nil)
}

// write puts a report into a file for the browser.
func (c *Collector) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.WriteTo(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}
