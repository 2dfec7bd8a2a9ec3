package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// holderEnv makes this test binary hold the lock of the file it names.
const holderEnv = "VIEWTCP_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderEnv); path != "" {
		if err := hold(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// hold holds a lock until its standard input ends, and tells when it has it.
func hold(path string) error {
	f, err := Lock(path, 0o600)
	if err != nil {
		return err
	}
	fmt.Println("locked")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return f.Close()
}

// startHolder starts a process that has the lock when it returns. It lets go when
// the pipe is closed.
func startHolder(t *testing.T, path string) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holderEnv+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if cmd.ProcessState == nil {
			_ = cmd.Wait()
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return cmd, in
}

// mustLock takes a lock that nobody has, and lets go of it.
func mustLock(t *testing.T, path string) {
	t.Helper()
	f, err := Lock(path, 0o600)
	if err != nil {
		t.Fatalf("a lock that nobody has: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestLock keeps another process out, until it ends by itself or is killed.
func TestLock(t *testing.T) {
	for _, how := range []string{"closed", "killed"} {
		t.Run(how, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			cmd, in := startHolder(t, path)
			if _, err := Lock(path, 0o600); !errors.Is(err, ErrLocked) {
				t.Fatalf("while another process has it: %v, want ErrLocked", err)
			}
			if how == "killed" {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait() // says that it was killed
			} else if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
				t.Fatal(err)
			}
			mustLock(t, path)
		})
	}
}

// TestLockHere keeps this process out too, and leaves the content to its holder.
func TestLockHere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := Lock(path, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path, 0o640); !errors.Is(err, ErrLocked) {
		t.Errorf("a second time: %v, want ErrLocked", err)
	}
	if _, err := f.WriteString("4711"); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); string(b) != "4711" {
		t.Errorf("others read %q, %v", b, err)
	}
	if st, err := f.Stat(); err != nil || runtime.GOOS != "windows" && st.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	mustLock(t, path)
	if b, err := os.ReadFile(path); string(b) != "4711" {
		t.Errorf("after another lock it holds %q, %v", b, err)
	}
}

func TestLockErrors(t *testing.T) {
	if _, err := Lock(filepath.Join(t.TempDir(), "none", "lock"), 0o600); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrLocked) {
		t.Errorf("in no directory: %v", err)
	}
	if _, err := Lock("nul\x00byte", 0o600); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("a name that no file has: %v", err)
	}
}

func TestSyncDir(t *testing.T) {
	dir := t.TempDir()
	if err := SyncDir(dir); err != nil {
		t.Error(err)
	}
	if err := SyncDir(filepath.Join(dir, "none")); err == nil && runtime.GOOS != "windows" {
		t.Error("a directory that is not there was synced")
	}
}

func TestIsFull(t *testing.T) {
	if runtime.GOOS != "windows" {
		for _, err := range []error{syscall.ENOSPC, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}} {
			if !IsFull(err) {
				t.Errorf("%v says that there is no space", err)
			}
		}
	}
	for _, err := range []error{nil, fs.ErrPermission, io.ErrShortWrite} {
		if IsFull(err) {
			t.Errorf("%v says nothing of space", err)
		}
	}
}
