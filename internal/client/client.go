package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/viewtcp/viewtcp/internal/api"
	"github.com/viewtcp/viewtcp/internal/store"
	"github.com/viewtcp/viewtcp/internal/tcp"
)

// Client asks one daemon. It is safe for concurrent use.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

const (
	// dialTimeout bounds the time to connect.
	dialTimeout = 5 * time.Second
	// maxAnswer is the most that an answer may be that is read as a whole, bytes,
	// maxLine the longest line of a stream.
	maxAnswer = 1 << 30
	maxLine   = 64 << 20
)

// New returns a client of the daemon at a URL: http or https, or an address alone,
// as in 127.0.0.1:9293. Nothing is asked yet.
func New(server, token string) (*Client, error) {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("the server's URL is malformed: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the server's URL %s: it begins with http:// or https://", u.Redacted())
	case u.Host == "":
		return nil, fmt.Errorf("the server's URL %s names no host", u.Redacted())
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the server's URL %s: a host and a port are all that is wanted", u.Redacted())
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	t := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
		// Compression costs more than loopback does.
		DisableCompression:  isLoopback(u.Hostname()),
		TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: time.Minute,
		MaxIdleConns: 4, ForceAttemptHTTP2: true,
	}
	return &Client{base: u, token: token, http: &http.Client{
		Transport: t,
		// The token goes to the server that was named, and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// URL is the address of the daemon.
func (c *Client) URL() string { return c.base.String() }

// Local reports whether the daemon is asked over loopback.
func (c *Client) Local() bool { return isLoopback(c.base.Hostname()) }

// Close closes connections that are not in use. Streams end with their context.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request makes a request with the token.
func (c *Client) request(ctx context.Context, method, path string, v url.Values, body io.Reader) (*http.Request, error) {
	u := *c.base
	u.Path += path
	u.RawQuery = v.Encode()
	r, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.base.Host, err)
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	return r, nil
}

// do sends a request. An answer that is not of the kind 2xx is an error.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL is long and says nothing new
		}
		return nil, fmt.Errorf("asking the daemon at %s: %w", c.base.Host, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, c.refusal(resp)
}

// get asks for a path.
func (c *Client) get(ctx context.Context, path string, v url.Values) (*http.Response, error) {
	r, err := c.request(ctx, http.MethodGet, path, v, nil)
	if err != nil {
		return nil, err
	}
	return c.do(r)
}

// getJSON asks for a path and reads the whole answer into out.
func (c *Client) getJSON(ctx context.Context, path string, v url.Values, out any) error {
	resp, err := c.get(ctx, path, v)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("reading the answer of the daemon at %s: %w", c.base.Host, err)
	}
	return nil
}

// refusalError is a problem that the daemon told of. It wraps the error of ours
// that it means.
type refusalError struct {
	problem *api.Problem
	host    string
	means   error
}

func (e *refusalError) Error() string {
	return fmt.Sprintf("the daemon at %s says: %s", e.host, e.problem.Error())
}

func (e *refusalError) Unwrap() []error {
	if e.means == nil {
		return []error{e.problem}
	}
	return []error{e.problem, e.means}
}

// refusal reads why a request was refused.
func (c *Client) refusal(resp *http.Response) error {
	p := &api.Problem{}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if json.Unmarshal(text, p) != nil || p.Status == 0 {
		p = api.NewProblem(resp.StatusCode, "about:blank", "")
		if resp.StatusCode/100 == 3 {
			p.Detail = "it sends elsewhere, which is not followed: give the server's own URL"
		}
	}
	if resp.StatusCode == http.StatusUnauthorized {
		p.Detail = "the token was refused"
	}
	return c.problem(p)
}

func (c *Client) problem(p *api.Problem) error {
	e := &refusalError{problem: p, host: c.base.Host}
	switch {
	case p.Status == http.StatusUnauthorized, p.Status == http.StatusForbidden:
		e.means = tcp.ErrPermission
	case p.Type == api.ProblemMemory:
		e.means = store.ErrMemory
	case p.Type == api.ProblemAbsent:
		e.means = tcp.ErrNotSupported
	case p.Type == api.ProblemUnavailable:
		e.means = store.ErrUnavailable
	case p.Status == http.StatusNotFound:
		e.means = fs.ErrNotExist
	}
	return e
}

// Ready reports whether a daemon that knows the token answers, and is ready. The
// token itself is not sent: another program may have taken the address over since
// the daemon ended.
func (c *Client) Ready(ctx context.Context) error {
	var nonce [24]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	challenge := base64.RawURLEncoding.EncodeToString(nonce[:])
	r, err := c.request(ctx, http.MethodGet, "/readyz", url.Values{"challenge": {challenge}}, nil)
	if err != nil {
		return err
	}
	r.Header.Del("Authorization")
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("asking the daemon at %s: %w", c.base.Host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var p api.Probe
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p); err != nil {
		return fmt.Errorf("%s is no ViewTCP daemon: it answers %s to /readyz", c.base.Host, resp.Status)
	}
	if subtle.ConstantTimeCompare([]byte(p.Proof), []byte(api.Proof(c.token, challenge))) != 1 {
		return fmt.Errorf("the daemon at %s does not know this token: %w", c.base.Host, tcp.ErrPermission)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the daemon at %s is %s: %w", c.base.Host, p.Status, store.ErrUnavailable)
	}
	return nil
}

// Health asks how the daemon does.
func (c *Client) Health(ctx context.Context) (*api.Health, error) {
	var h api.Health
	if err := c.getJSON(ctx, "/api/v1/health", nil, &h); err != nil {
		return nil, err
	}
	return &h, nil
}

// Mark puts a note on the timeline. Without a time it holds now, by the daemon's
// clock.
func (c *Client) Mark(ctx context.Context, m store.Mark) error {
	mark := api.Mark{Text: m.Text, From: m.From}
	if m.Time != 0 {
		mark.Time = time.Unix(0, m.Time).UTC()
	}
	body, err := json.Marshal(&mark)
	if err != nil {
		return fmt.Errorf("writing a mark: %w", err)
	}
	r, err := c.request(ctx, http.MethodPost, "/api/v1/marks", nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// ExportQuery chooses recorded packets; zero is without end.
type ExportQuery struct {
	From, To time.Time
	IDs      []tcp.ID
	// Filter is the text of a filter, "" for none.
	Filter   string
	MaxBytes int64
}

// exportTrailer is what internal/web sends after an export that is whole.
const exportTrailer = "Viewtcp-Export"

// Export writes recorded packets to w as pcapng. After an error the file is not
// whole. When there are none, nothing was written and the error wraps
// fs.ErrNotExist.
func (c *Client) Export(ctx context.Context, w io.Writer, q ExportQuery) (*api.Exported, error) {
	v := url.Values{}
	if !q.From.IsZero() {
		v.Set("since", q.From.UTC().Format(time.RFC3339Nano))
	}
	if !q.To.IsZero() {
		v.Set("until", q.To.UTC().Format(time.RFC3339Nano))
	}
	if q.Filter != "" {
		v.Set("filter", q.Filter)
	}
	for _, id := range q.IDs {
		v.Add("id", id.String())
	}
	if q.MaxBytes > 0 {
		v.Set("max_bytes", fmt.Sprint(q.MaxBytes))
	}
	resp, err := c.get(ctx, "/api/v1/packets", v)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return nil, fmt.Errorf("receiving packets from the daemon at %s: %w", c.base.Host, err)
	}
	var done api.Exported
	if err := json.Unmarshal([]byte(resp.Trailer.Get(exportTrailer)), &done); err != nil {
		return nil, fmt.Errorf("receiving packets from the daemon at %s: the end is missing: %w", c.base.Host, io.ErrUnexpectedEOF)
	}
	return &done, nil
}

// lines calls fn for each line of a body, which is valid during the call.
func lines(body io.Reader, fn func(line []byte) error) error {
	r := bufio.NewReaderSize(body, 64<<10)
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, part...); len(long) > maxLine {
				return fmt.Errorf("a line is longer than %d bytes", maxLine)
			}
			continue
		}
		line := part
		if len(long) > 0 {
			long = append(long, part...)
			line = long
		}
		if len(line) > 0 {
			if ferr := fn(bytes.TrimSuffix(line, []byte("\n"))); ferr != nil {
				return ferr
			}
		}
		long = long[:0]
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
