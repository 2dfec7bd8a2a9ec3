package web

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// guard decides who may ask. It is safe for concurrent use.
type guard struct {
	token  [sha256.Size]byte
	hosts  map[string]bool
	limits Limits

	mu       sync.Mutex
	launches map[[sha256.Size]byte]time.Time // until when each is good
	sessions map[[sha256.Size]byte]time.Time // when each was used last
	failures map[netip.Addr]*failures
}

// failures are the wrong tokens of an address within the last minute.
type failures struct {
	count int
	since time.Time
}

const (
	// cookieName is that of the session.
	cookieName = "viewtcp_session"
	// failureWindow is the time in which failures are counted.
	failureWindow = time.Minute
	// maxFailing bounds the addresses that are remembered for their failures, and
	// maxLaunches the launch URLs.
	maxFailing, maxLaunches = 4096, 16
)

func newGuard(cfg *Config) *guard {
	g := &guard{
		token: sha256.Sum256([]byte(cfg.Token)), limits: cfg.Limits,
		hosts:    map[string]bool{"localhost": true},
		launches: make(map[[sha256.Size]byte]time.Time), sessions: make(map[[sha256.Size]byte]time.Time),
		failures: make(map[netip.Addr]*failures),
	}
	for _, h := range cfg.Hosts {
		g.hosts[strings.ToLower(strings.Trim(h, "[]"))] = true
	}
	return g
}

// hostAllowed reports whether a request calls the server by a name that it has.
// Else a page of a stranger could have its own name point here (DNS rebinding),
// and its scripts would be of the same origin.
func (g *guard) hostAllowed(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if g.hosts[host] {
		return true
	}
	// An address in a Host header was not looked up by name: it cannot be rebound.
	// Still only the own ones are meant.
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	if ip.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	return err == nil && own.Addr().Unmap().WithZone("") == ip
}

func (g *guard) isToken(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// access is how a request may be allowed.
type access uint8

const (
	denied access = iota
	// byToken came with the token, bySession with a cookie.
	byToken
	bySession
	// limited came without either, and its address did so too often.
	limited
)

// allow looks for a token or a session.
func (g *guard) allow(r *http.Request, now time.Time) access {
	if h := r.Header.Get("Authorization"); h != "" {
		kind, token, _ := strings.Cut(h, " ")
		if strings.EqualFold(kind, "Bearer") && g.isToken(strings.TrimSpace(token)) {
			return byToken
		}
		return g.fail(r, now)
	}
	c, err := r.Cookie(cookieName)
	if err != nil {
		return denied
	}
	if g.isSession(c.Value, now) {
		return bySession
	}
	// A session that ended is no attempt to guess one.
	return denied
}

// isSession reports whether a cookie is of a session, and prolongs it.
func (g *guard) isSession(value string, now time.Time) bool {
	key := sha256.Sum256([]byte(value))
	g.mu.Lock()
	defer g.mu.Unlock()
	used, ok := g.sessions[key]
	if !ok {
		return false
	}
	if now.Sub(used) > g.limits.Session {
		delete(g.sessions, key)
		return false
	}
	g.sessions[key] = now
	return true
}

// fail counts a wrong token. A right one is never refused for it, so that nobody
// can lock others out.
func (g *guard) fail(r *http.Request, now time.Time) access {
	addr := remoteAddr(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.failures[addr]
	if f == nil || now.Sub(f.since) > failureWindow {
		if len(g.failures) >= maxFailing {
			for a, old := range g.failures {
				if now.Sub(old.since) > failureWindow {
					delete(g.failures, a)
				}
			}
			if len(g.failures) >= maxFailing {
				clear(g.failures)
			}
		}
		f = &failures{since: now}
		g.failures[addr] = f
	}
	f.count++
	if f.count > g.limits.Failures {
		return limited
	}
	return denied
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func secretText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func (g *guard) newLaunch() string {
	code := secretText()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.launches) >= maxLaunches {
		clear(g.launches)
	}
	g.launches[sha256.Sum256([]byte(code))] = time.Now().Add(g.limits.Launch)
	return code
}

// launch uses a launch code up.
func (g *guard) launch(code string, now time.Time) bool {
	key := sha256.Sum256([]byte(code))
	g.mu.Lock()
	defer g.mu.Unlock()
	until, ok := g.launches[key]
	delete(g.launches, key)
	return ok && now.Before(until)
}

// login begins a session and sets its cookie.
func (g *guard) login(w http.ResponseWriter, r *http.Request, now time.Time) {
	value := secretText()
	g.mu.Lock()
	if len(g.sessions) >= g.limits.Sessions {
		var oldest [sha256.Size]byte
		at := now.Add(time.Hour)
		for k, t := range g.sessions {
			if t.Before(at) {
				oldest, at = k, t
			}
		}
		delete(g.sessions, oldest)
	}
	g.sessions[sha256.Sum256([]byte(value))] = now
	g.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", MaxAge: int(g.limits.Session / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
}

// logout ends the session of a request.
func (g *guard) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		g.mu.Lock()
		delete(g.sessions, sha256.Sum256([]byte(c.Value)))
		g.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
}
