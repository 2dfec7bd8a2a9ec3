package web

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

func withoutToken(r *http.Request) { r.Header.Del("Authorization") }

// TestEverythingNeedsTheToken asks each route without it, and with things that are
// not it.
func TestEverythingNeedsTheToken(t *testing.T) {
	cfg := testConfig(newFakeView(), &fakeStore{})
	cfg.Limits.Failures = 1 << 30
	f := start(t, cfg)
	for _, rt := range f.s.routes {
		if rt.public {
			continue
		}
		path := strings.NewReplacer("{id}", tcp.ID(1).String()).Replace(rt.path)
		for name, change := range map[string]func(*http.Request){
			"none":   withoutToken,
			"wrong":  func(r *http.Request) { r.Header.Set("Authorization", "Bearer wrong") },
			"empty":  func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") },
			"basic":  func(r *http.Request) { r.SetBasicAuth("viewtcp", testToken) },
			"prefix": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testToken[:len(testToken)-1]) },
			"longer": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testToken+"x") },
			"cookie": func(r *http.Request) {
				withoutToken(r)
				r.AddCookie(&http.Cookie{Name: cookieName, Value: testToken})
			},
			"query": func(r *http.Request) {
				withoutToken(r)
				r.URL.RawQuery = "token=" + testToken + "&access_token=" + testToken
			},
		} {
			for _, method := range []string{"GET", "POST", "HEAD"} {
				resp := f.request(method, path, "", change)
				status, _ := f.body(resp)
				if rt.page && method != "POST" && status == http.StatusSeeOther && resp.Header.Get("Location") == "/login" {
					continue
				}
				if status != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s %s with %s: %d", method, path, name, status)
				}
			}
		}
	}
}

// TestGuessing checks that wrong tokens are limited, and that nobody can lock the
// right one out.
func TestGuessing(t *testing.T) {
	cfg := testConfig(newFakeView(), &fakeStore{})
	cfg.Limits.Failures = 3
	f := start(t, cfg)
	wrong := func(r *http.Request) { r.Header.Set("Authorization", "Bearer wrong") }
	for i := range 6 {
		resp := f.request("GET", "/api/v1/health", "", wrong)
		status, body := f.body(resp)
		if i < 3 && status != 401 || i >= 3 && (status != 429 || resp.Header.Get("Retry-After") == "" || problem(t, body).Type != api.ProblemLimit) {
			t.Errorf("attempt %d: %d %s", i, status, body)
		}
	}
	if status, _ := f.get("/api/v1/health"); status != 200 {
		t.Errorf("the right token: %d", status)
	}
	form := func(r *http.Request) {
		withoutToken(r)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if status, _ := f.body(f.request("POST", "/login", "token=wrong", form)); status != 429 {
		t.Errorf("the form: %d", status)
	}
	if status, _ := f.body(f.request("POST", "/login", "token="+testToken, form)); status != 303 {
		t.Errorf("the form with the right token: %d", status)
	}
}

// TestLaunch follows a launch URL: it logs in once.
func TestLaunch(t *testing.T) {
	f := start(t, testConfig(newFakeView(), &fakeStore{}))
	launch := f.s.Launch()
	if status, _ := f.body(f.request("HEAD", launch, "", withoutToken)); status != 303 {
		t.Errorf("HEAD: %d", status)
	}
	resp := f.request("GET", launch, "", withoutToken)
	f.body(resp)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/" || len(resp.Cookies()) != 1 {
		t.Fatalf("%d to %s with %v", resp.StatusCode, resp.Header.Get("Location"), resp.Cookies())
	}
	cookie := resp.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || len(cookie.Value) < 40 || strings.Contains(launch, cookie.Value) {
		t.Errorf("cookie %+v", cookie)
	}
	session := func(r *http.Request) { withoutToken(r); r.AddCookie(cookie) }
	if status, body := f.body(f.request("GET", "/", "", session)); status != 200 || !strings.Contains(body, "test-host") {
		t.Errorf("the page: %d", status)
	}
	if status, _ := f.body(f.request("GET", "/api/v1/health", "", session)); status != 200 {
		t.Errorf("the API: %d", status)
	}
	if status, body := f.body(f.request("GET", launch, "", withoutToken)); status != 401 || !strings.Contains(body, "used already") {
		t.Errorf("the second time: %d", status)
	}
	if status, _ := f.body(f.request("GET", "/?launch=guess", "", withoutToken)); status != 401 {
		t.Errorf("a guess: %d", status)
	}
	if status, _ := f.body(f.request("POST", "/logout", "", session)); status != 303 {
		t.Errorf("logout: %d", status)
	}
	if status, _ := f.body(f.request("GET", "/api/v1/health", "", session)); status != 401 {
		t.Errorf("after logout: %d", status)
	}

	g := f.s.guard
	now := time.Now()
	code := g.newLaunch()
	if g.launch(code, now.Add(DefaultLimits().Launch+time.Minute)) {
		t.Error("a launch code that is too old was accepted")
	}
	w := newRecorder()
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
	g.login(w, r, now)
	value := (&http.Response{Header: w.header}).Cookies()[0].Value
	if !g.isSession(value, now.Add(time.Hour)) || g.isSession(value, now.Add(time.Hour+DefaultLimits().Session+time.Minute)) {
		t.Error("a session does not last as long as it should")
	}
	for range 3 * DefaultLimits().Sessions {
		g.login(newRecorder(), r, now)
	}
	if n := len(g.sessions); n > DefaultLimits().Sessions {
		t.Errorf("%d sessions are kept", n)
	}
}

// TestHosts checks by which names the server may be called.
func TestHosts(t *testing.T) {
	f := start(t, testConfig(newFakeView(), &fakeStore{}))
	for host, want := range map[string]int{
		"localhost": 200, "LocalHost:9293": 200, "localhost.": 200, "127.0.0.1": 200, "127.0.0.1:1": 200, "[::1]:80": 200, "127.9.9.9": 200,
		"viewtcp.example": 200, "VIEWTCP.example:443": 200,
		"evil.example": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "192.0.2.1": 421, "[2001:db8::1]:80": 421,
		"evil.example:9293": 421, "x.viewtcp.example": 421, "0.0.0.0": 421, "2130706433": 421,
	} {
		for _, path := range []string{"/api/v1/health", "/healthz", "/login"} {
			resp := f.request("GET", path, "", func(r *http.Request) { r.Host = host })
			if status, body := f.body(resp); status != want {
				t.Errorf("%s%s: %d, want %d: %.100s", host, path, status, want, body)
			}
		}
	}
}

// TestOrigins checks that pages of others change nothing, and read nothing.
func TestOrigins(t *testing.T) {
	f := start(t, testConfig(newFakeView(), &fakeStore{}))
	for name, change := range map[string]func(*http.Request){
		"origin":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"site":      func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"same-site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"null":      func(r *http.Request) { r.Header.Set("Origin", "null") },
	} {
		for _, path := range []string{"/login", "/logout", "/api/v1/marks"} {
			if status, body := f.body(f.request("POST", path, "{}", change)); status != 403 || problem(t, body).Type != api.ProblemCrossOrigin {
				t.Errorf("POST %s from another origin (%s): %d %s", path, name, status, body)
			}
		}
	}
	resp := f.request("GET", "/api/v1/health", "", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
	f.body(resp)
	for h := range resp.Header {
		if strings.HasPrefix(h, "Access-Control-") {
			t.Errorf("header %s", h)
		}
	}
}

// TestHeaders checks what each answer says to browsers.
func TestHeaders(t *testing.T) {
	f := start(t, testConfig(newFakeView(), &fakeStore{}))
	for _, path := range []string{"/", "/login", "/healthz", "/api/v1/connections", "/api/v1/nothing", "/api/v1/packets", "/metrics"} {
		resp := f.request("GET", path, "", nil)
		f.body(resp)
		h := resp.Header
		if !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(h.Get("Content-Security-Policy"), "unsafe") ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

// TestHostileNamesInPages checks that the page shows names as text.
func TestHostileNamesInPages(t *testing.T) {
	hostile := `<script>alert("x")</script>` + "\x1b[31m\u202e'\"&"
	c := testConn(1, hostile)
	c.Names = &tcp.Names{RemoteName: hostile, Host: hostile}
	cfg := testConfig(newFakeView(c, listener()), &fakeStore{})
	cfg.Health = func() Health { return Health{Ready: true, Host: hostile, Warning: hostile, Packets: hostile} }
	cfg.StoreStatus = func() store.Status { return store.Status{State: store.StateFailing, Reason: hostile} }
	f := start(t, cfg)
	status, body := f.get("/")
	if status != 200 || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("%d %s", status, body)
	}
	if strings.Contains(body, "<script") || strings.ContainsAny(body, "\x1b\u202e") || strings.Contains(body, "style=") {
		t.Errorf("%s", body)
	}
	for _, want := range []string{"ESTABLISHED", "LISTEN", "100 B/s", "degraded", "failing"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in the page:\n%s", want, body)
		}
	}
}

// TestLogCannotBeForged checks that what a stranger sends makes one line of the
// log, without secrets.
func TestLogCannotBeForged(t *testing.T) {
	var b bytes.Buffer
	st := &fakeStore{fail: http.ErrBodyNotAllowed}
	cfg := testConfig(newFakeView(), st)
	cfg.Log = slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/api/v1/history", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.URL.Path += "\nlevel=ERROR msg=forged"
	r.Header.Set("Authorization", "Bearer "+testToken)
	s.Handler().ServeHTTP(newRecorder(), r)
	r.URL.Path = "/api/v1/history"
	w := newRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.status != 500 {
		t.Errorf("status %d", w.status)
	}
	if strings.Contains(b.String(), "\nlevel=ERROR msg=forged") || strings.Contains(b.String(), testToken) {
		t.Errorf("log:\n%s", b.String())
	}
}
