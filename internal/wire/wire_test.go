package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fill sets every value reachable from v to something different from zero, so
// that a field which the format forgets shows.
func fill(v reflect.Value, n *uint64) {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range v.Fields() {
			fill(f, n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), 3, 3)
		v.Set(s)
		for i := range 3 {
			fill(v.Index(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.String:
		*n++
		v.SetString(strings.Repeat("x", int(*n%7)+1))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Func: // stays on its side
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		*n++
		v.SetInt(int64(*n%120) + 1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		*n++
		v.SetUint(*n%250 + 1)
	default:
		panic("unfilled kind " + v.Kind().String())
	}
}

func filledBatch() *tcp.Batch {
	var (
		b tcp.Batch
		n uint64
	)
	fill(reflect.ValueOf(&b).Elem(), &n)
	return &b
}

func TestBatchRoundTrip(t *testing.T) {
	for name, want := range map[string]*tcp.Batch{"filled": filledBatch(), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			raw := AppendBatch(nil, want)
			// A reused destination must not leak its old content.
			got := filledBatch()
			if err := DecodeBatch(raw, got); err != nil {
				t.Fatal(err)
			}
			if len(want.Observations) == 0 {
				got.Observations, got.Processes, got.Pass.Namespaces = nil, nil, nil
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("batch changed on the wire (-sent +received):\n%s", diff)
			}
		})
	}
}

func TestObservationSize(t *testing.T) {
	if n := len(appendObservation(nil, &tcp.Observation{})); n != observationSize {
		t.Errorf("an observation takes %d bytes, the format says %d", n, observationSize)
	}
}

// TestVersion1Fixture holds the decoder against bytes written by version 1.
func TestVersion1Fixture(t *testing.T) {
	path := filepath.Join("testdata", "batch-v1.bin")
	want := filledBatch()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, AppendBatch(nil, want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got tcp.Batch
	if err := DecodeBatch(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("fixture reads differently (-want +got):\n%s", diff)
	}
}

func TestLongStringIsCut(t *testing.T) {
	b := tcp.Batch{Pass: tcp.Pass{Incomplete: strings.Repeat("a", 70_000)}}
	var got tcp.Batch
	if err := DecodeBatch(AppendBatch(nil, &b), &got); err != nil {
		t.Fatal(err)
	}
	if n := len(got.Pass.Incomplete); n != maxString {
		t.Errorf("string of %d bytes came through, want %d", n, maxString)
	}
}

func TestDecodeCut(t *testing.T) {
	raw := AppendBatch(nil, filledBatch())
	for n := range raw {
		var b tcp.Batch
		if err := DecodeBatch(raw[:n], &b); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("batch cut to %d of %d bytes: error %v, want ErrCorrupt", n, len(raw), err)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(AppendBatch(nil, filledBatch()))
	f.Add(AppendBatch(nil, &tcp.Batch{}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b tcp.Batch
		if err := DecodeBatch(raw, &b); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v does not wrap ErrCorrupt", err)
			}
			return
		}
		var again tcp.Batch
		if err := DecodeBatch(AppendBatch(nil, &b), &again); err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		if diff := cmp.Diff(b, again); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 1, '{', '}'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 3})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r := bufio.NewReader(bytes.NewReader(raw))
		for {
			if _, _, err := readFrame(r, nil); err != nil {
				return
			}
		}
	})
}

// pipe returns a dialer whose connections h serves.
func pipe(t *testing.T, h Handler) func(context.Context) (net.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 64)
	started := 0
	t.Cleanup(func() {
		cancel()
		for range started {
			<-done
		}
	})
	return func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		started++
		go func() {
			_ = Serve(ctx, server, h)
			done <- struct{}{}
		}()
		return client, nil
	}
}

func TestClientIsASource(t *testing.T) {
	sent := filledBatch()
	h := func(ctx context.Context, req Request, hello func(Hello) error, sink tcp.Sink) error {
		if req.Source != "ebpf" || req.NetNS != "all" {
			t.Errorf("request arrived as %+v", req)
		}
		if err := hello(Hello{Source: "ebpf", Host: "h", Features: []tcp.Feature{{Name: "f", Available: true}}}); err != nil {
			return err
		}
		switch req.Op {
		case OpOnce:
			for range 3 {
				if err := sink(sent); err != nil {
					return err
				}
			}
		case OpRun:
			for ctx.Err() == nil {
				if err := sink(sent); err != nil {
					return err
				}
			}
		case OpClose:
			return &os.PathError{Op: "close", Path: req.Socket.Local, Err: os.ErrNotExist}
		default:
		}
		return nil
	}
	c, err := Dial(t.Context(), pipe(t, h), "ebpf", "all")
	if err != nil {
		t.Fatal(err)
	}
	if c.Kind() != tcp.SourceEBPF || len(c.Features()) != 1 {
		t.Errorf("kind %v, features %v", c.Kind(), c.Features())
	}
	n := 0
	if err := c.Once(t.Context(), func(b *tcp.Batch) error {
		n++
		if diff := cmp.Diff(sent, b); diff != "" {
			t.Error(diff)
		}
		return nil
	}); err != nil || n != 3 {
		t.Errorf("once: %d batches, error %v; want 3, nil", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	n = 0
	if err := c.Run(ctx, func(*tcp.Batch) error {
		if n++; n == 5 {
			cancel()
		}
		return nil
	}); err != nil || n < 5 {
		t.Errorf("run: %d batches, error %v; want at least 5, nil", n, err)
	}
	if err := c.CloseSocket(t.Context(), Socket{Local: "192.0.2.1"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("closing a socket that is gone: %v, want ErrNotExist", err)
	}
}

func TestStrangers(t *testing.T) {
	h := func(context.Context, Request, func(Hello) error, tcp.Sink) error { return nil }
	for name, say := range map[string]string{
		"another protocol": "GET / HTTP/1.1\r\n\r\n",
		"another version":  "VTCP\x09\x00",
		"no request":       "VTCP\x01\x00\x00\x00\x00\x00\x05",
		"no JSON":          "VTCP\x01\x00\x01\x00\x00\x00\x01{",
	} {
		t.Run(name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			go func() {
				_, _ = client.Write([]byte(say))
				_, _ = io.Copy(io.Discard, client)
			}()
			if err := Serve(t.Context(), server, h); err == nil {
				t.Error("served without an error")
			}
			_ = client.Close()
		})
	}
}

func BenchmarkBatch(b *testing.B) {
	batch := &tcp.Batch{Observations: make([]tcp.Observation, 256)}
	var raw []byte
	var got tcp.Batch
	b.ReportAllocs()
	for b.Loop() {
		raw = AppendBatch(raw[:0], batch)
		if err := DecodeBatch(raw, &got); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/observation")
}
