package procfs

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/viewtcp/viewtcp/internal/tcp"

	"github.com/viewtcp/viewtcp/internal/tcptest/need"
)

const noRights = 65534

type looked struct {
	Visibility Visibility
	Warning    string
	// Own and Foreign say whether the owner of an own socket, and of one of
	// root's, was found.
	Own, Foreign bool
	Hidden       int
	Features     []tcp.Feature
	Observations int
	Incomplete   string
}

// roleLook looks around as a user without rights, in a pid namespace with one
// process of root that holds a socket.
func roleLook() (any, error) {
	if err := privateProc(os.Getenv("LOOK_PROC")); err != nil {
		return nil, err
	}
	if err := loUp(); err != nil {
		return nil, err
	}
	foreign, _, err := listen("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	foreignInode, err := socketInode(foreign)
	if err != nil {
		return nil, err
	}
	listener := os.NewFile(uintptr(foreign), "listener")
	if _, err := startHolder(listener); err != nil {
		return nil, err
	}
	_ = listener.Close()

	if err := syscall.Setgroups(nil); err != nil {
		return nil, err
	}
	if err := syscall.Setresgid(noRights, noRights, noRights); err != nil {
		return nil, err
	}
	if err := syscall.Setresuid(noRights, noRights, noRights); err != nil {
		return nil, err
	}
	// As if the program had been started by that user.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	own, _, err := listen("127.0.0.1", 1)
	if err != nil {
		return nil, err
	}
	ownInode, err := socketInode(own)
	if err != nil {
		return nil, err
	}
	var l looked
	if l.Visibility, err = Look(DefaultConfig()); err != nil {
		return nil, err
	}
	l.Warning = l.Visibility.Warning()
	w := NewOwners(DefaultConfig())
	err = w.Resolve(context.Background(), map[uint32]struct{}{ownInode: {}, foreignInode: {}}, func(inode uint32, _ tcp.Owner) {
		l.Own = l.Own || inode == ownInode
		l.Foreign = l.Foreign || inode == foreignInode
	})
	if err != nil {
		return nil, err
	}
	l.Hidden = w.Hidden()
	src, err := New(DefaultConfig())
	if err != nil {
		return nil, err
	}
	l.Features = src.Features()
	return l, src.Once(context.Background(), func(b *tcp.Batch) error {
		l.Observations += len(b.Observations)
		l.Incomplete = b.Pass.Incomplete
		return nil
	})
}

func TestVisibility(t *testing.T) {
	need.Root(t)
	for _, tt := range []struct {
		name, options, hidepid string
		processes, hidden      int
		foreignHidden          int
	}{
		{"all is shown", "", "", 2, 1, 1},
		{"noaccess", "hidepid=1", "noaccess", 2, 1, 1},
		{"invisible", "hidepid=2", "invisible", 1, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l looked
			start(t, "look", &l, func(cmd *exec.Cmd) {
				inPIDNamespace(cmd)
				cmd.Env = append(cmd.Env, "LOOK_PROC="+tt.options)
			})
			v := l.Visibility
			if v.HidePID != tt.hidepid || v.Processes != tt.processes || v.Hidden != tt.hidden || v.Initial || v.SysPtrace || v.DACReadSearch {
				t.Errorf("%+v", v)
			}
			if !l.Own || l.Foreign || l.Hidden != tt.foreignHidden {
				t.Errorf("own found %v, root's found %v, %d hidden", l.Own, l.Foreign, l.Hidden)
			}
			if v.Complete() || l.Warning == "" || !strings.Contains(l.Warning, "pid namespace") ||
				tt.hidepid != "" && !strings.Contains(l.Warning, "hidepid="+tt.hidepid) {
				t.Errorf("warning %q", l.Warning)
			}
			t.Log(l.Warning)
			// The tables themselves are open to all; namespaces that others made
			// on this machine may be hidden.
			if l.Observations < 2 || l.Incomplete != "" && !strings.Contains(l.Incomplete, "hidden") {
				t.Errorf("%d sockets, incomplete %q", l.Observations, l.Incomplete)
			}
			for _, f := range l.Features {
				t.Logf("%+v", f)
				if f.Reason == "" {
					t.Errorf("feature without a reason: %+v", f)
				}
			}
		})
	}
}

// Here and now, as root: everything can be read, or it is said what cannot.
func TestLook(t *testing.T) {
	v, err := Look(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v: %q", v, v.Warning())
	if v.Processes == 0 || v.Hidden > v.Processes || v.Complete() != (v.Warning() == "") {
		t.Errorf("%+v, warning %q", v, v.Warning())
	}
	if _, err := Look(Config{Root: t.TempDir() + "/none"}); err == nil {
		t.Error("no error without a proc")
	}
}
