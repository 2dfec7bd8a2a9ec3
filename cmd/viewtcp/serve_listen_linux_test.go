package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/viewtcp/viewtcp/internal/tcptest"
)

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(tb testing.TB, dir string, serial int64) (c tlsConfig, roots *x509.CertPool) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "viewtcp test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	c = tlsConfig{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	roots = x509.NewCertPool()
	for path, block := range map[string]*pem.Block{
		c.cert: {Type: "CERTIFICATE", Bytes: cert}, c.key: {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	if parsed, err := x509.ParseCertificate(cert); err == nil {
		roots.AddCert(parsed)
	}
	return c, roots
}

var listeningAt = regexp.MustCompile(`listening on (https?://\S+)/`)

// TestServeTLS: with a certificate the daemon answers with TLS, and the commands
// of this host find it still.
func TestServeTLS(t *testing.T) {
	ns := tcptest.NewNetNS(t)
	dir, files := filepath.Join(t.TempDir(), "data"), t.TempDir()
	pair, roots := selfSigned(t, files, 1)
	config := filepath.Join(files, "serve.yaml")
	text := fmt.Sprintf("tls: {cert: %q, key: %q}\n", pair.cert, pair.key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := serving(t, nil, dir, "--config", config, "--netns", ns.Path(), "--packets=false")
	p.mu.Lock()
	said := listeningAt.FindStringSubmatch(strings.Join(p.stderr, "\n"))
	p.mu.Unlock()
	if said == nil {
		t.Fatal("it does not say where it listens")
	}
	url := said[1]
	get := func(roots *x509.CertPool) (answer string, err error) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, ForceAttemptHTTP2: true}
		defer tr.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: tr, Timeout: patience}).Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		return resp.Status + " " + resp.Proto + " " + tls.VersionName(resp.TLS.Version), nil
	}
	if got, err := get(roots); err != nil || got != "200 OK HTTP/2.0 TLS 1.3" || !strings.HasPrefix(url, "https://127.0.0.1:") {
		t.Errorf("%s: %q, %v", url, got, err)
	}
	// A renewal counts at once.
	_, renewed := selfSigned(t, files, 2)
	if _, err := get(renewed); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
	if code, body := ask(t, dir, http.MethodGet, "/api/v1/health"); code != http.StatusOK {
		t.Errorf("from this host: %d %s", code, body)
	}
	if r := viewtcp(t, "mark", "--data", dir, "a deploy"); r.code != exitOK || !strings.Contains(r.stderr, "http://127.0.0.1:") {
		t.Errorf("%v", r)
	}
	if r := p.interrupt(t); r.code != exitOK {
		t.Errorf("%v", r)
	}
}

// TestServeListenMistakes: nothing is served to other machines for all to read.
func TestServeListenMistakes(t *testing.T) {
	files := t.TempDir()
	pair, _ := selfSigned(t, files, 1)
	for _, tt := range []struct {
		name, config, listen, want string
	}{
		{"no certificate", "{}", "0.0.0.0:0", "0.0.0.0:0 can be reached from other machines, which needs TLS: set tls.cert and tls.key"},
		{"no certificate, IPv6", "{}", "[::]:0", "can be reached from other machines"},
		{"no key", "tls: {cert: " + pair.cert + "}", "127.0.0.1:0", "belong together"},
		{"no such file", "tls: {cert: /no/such.pem, key: " + pair.key + "}", "127.0.0.1:0", "/no/such.pem"},
		{"no certificate inside", "tls: {cert: " + pair.key + ", key: " + pair.key + "}", "127.0.0.1:0", "the certificate of tls.cert and tls.key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			config := filepath.Join(t.TempDir(), "serve.yaml")
			if err := os.WriteFile(config, []byte(tt.config+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			r := viewtcp(t, "serve", "--data", t.TempDir(), "--config", config, "--listen", tt.listen, "--netns", "self")
			if r.code != exitFailure || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("%v, want %q", r, tt.want)
			}
		})
	}
	if err := os.Chmod(pair.key, 0o644); err != nil { //nolint:gosec // that is what is refused
		t.Fatal(err)
	}
	c := &certificate{files: pair}
	if _, err := c.get(nil); err == nil || !strings.Contains(err.Error(), "can be read by everybody") {
		t.Errorf("a key for everybody: %v", err)
	}
}
