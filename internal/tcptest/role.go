package tcptest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
)

// The environment variable that makes a program play a role instead of itself,
// and the one that asks it for more before it does.
const (
	roleVariable  = "VIEWTCP_TEST_ROLE"
	setupVariable = "VIEWTCP_TEST_SETUP"
)

// A Role is what a child process does. Run returns when its work is done or
// when Control.Recv says that the parent is gone.
type Role struct {
	Name string
	Run  func(*Control) error
}

// Control is a role's end of the pipes to its parent: one JSON value a line in
// both directions.
type Control struct {
	in  *json.Decoder
	out *json.Encoder
	mu  sync.Mutex // guards out
}

// envelope is one line from a child.
type envelope struct {
	Value json.RawMessage `json:"value,omitempty"`
	Error string          `json:"error,omitempty"`
}

// Recv waits for the parent's next value; io.EOF says that the parent closed
// the pipe or is gone. The first value is the role's configuration.
func (c *Control) Recv(v any) error { return c.in.Decode(v) }

// Send hands a value to the parent. It may be called from several goroutines.
func (c *Control) Send(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.send(envelope{Value: b})
}

func (c *Control) send(e envelope) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Encode(e)
}

// Main is for TestMain: it plays a role when the process was started for one,
// else it runs the tests. The roles of this package need not be listed.
func Main(m *testing.M, roles ...Role) {
	if code, is := PlayRole(roles...); is {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// PlayRole is Main for programs that are no tests: when is is set the process
// was started to play a role, has done so, and should exit with code.
func PlayRole(roles ...Role) (code int, is bool) {
	name := os.Getenv(roleVariable)
	if name == "" {
		return 0, false
	}
	c := &Control{in: json.NewDecoder(bufio.NewReader(os.Stdin)), out: json.NewEncoder(os.Stdout)}
	if err := c.play(name, append(builtinRoles(), roles...)); err != nil && !errors.Is(err, io.EOF) {
		_ = c.send(envelope{Error: err.Error()})
		fmt.Fprintf(os.Stderr, "role %s: %v\n", name, err)
		return 1, true
	}
	return 0, true
}

func (c *Control) play(name string, roles []Role) error {
	// A role's own children must be the program, not the role.
	_ = os.Unsetenv(roleVariable)
	setup := os.Getenv(setupVariable)
	_ = os.Unsetenv(setupVariable)
	if err := setUp(setup); err != nil {
		return err
	}
	for _, r := range roles {
		if r.Name == name {
			return r.Run(c)
		}
	}
	return fmt.Errorf("no role %q", name)
}

// wait blocks until the parent is gone.
func (c *Control) wait() {
	var v json.RawMessage
	for err := error(nil); err == nil; {
		err = c.Recv(&v)
	}
}
