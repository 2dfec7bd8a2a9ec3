package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/viewtcp/viewtcp/internal/disk"
)

// What lies in a data directory.
const (
	storeDir   = "store"       // history, of internal/store/parquet
	packetsDir = "packets"     // segments of the recorder
	tokenFile  = "token"       // the secret that the daemon's API asks for
	daemonFile = "daemon.json" // where the daemon listens, while it does
	lockFile   = "lock"        // held by the daemon
)

// dataDir is the data directory: the one that --data gave, else that of
// VIEWTCP_DATA, else the usual one of root or of the user. It need not exist.
func dataDir(given string) (string, error) {
	if given == "" {
		given = os.Getenv("VIEWTCP_DATA")
	}
	if given != "" {
		return filepath.Clean(given), nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/viewtcp", nil
	}
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "viewtcp"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", usagef("there is no usual data directory without a home: give one with --data DIR or VIEWTCP_DATA (%w)", err)
	}
	return filepath.Join(home, ".local", "state", "viewtcp"), nil
}

// daemonInfo is what daemon.json says of the daemon that has a data directory.
type daemonInfo struct {
	Address string    `json:"address"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// readDaemonInfo reads daemon.json; the error wraps fs.ErrNotExist when no daemon
// wrote one. The daemon may have been killed since.
func readDaemonInfo(dir string) (daemonInfo, error) {
	var d daemonInfo
	path := filepath.Join(dir, daemonFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("reading %q: %w", path, err)
	}
	return d, nil
}

func writeDaemonInfo(dir string, d daemonInfo) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return writeState(filepath.Join(dir, daemonFile), append(b, '\n'), 0o644)
}

// readToken reads the secret of the daemon's API. The error wraps fs.ErrPermission
// for users that may not have it.
func readToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	token := string(bytes.TrimSpace(b))
	if raw, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(raw) < 16 {
		return "", fmt.Errorf("%q holds no token: remove it, and serve makes another", path)
	}
	return token, nil
}

// makeToken reads the secret of a data directory, and makes one where there is
// none: 256 random bits, for the owner's eyes only.
func makeToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	token, err := readToken(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return "", err
		}
		// Whoever could read it may have: a mode that was opened is closed again.
		return token, os.Chmod(path, 0o600)
	}
	var raw [32]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", err
	}
	token = base64.RawURLEncoding.EncodeToString(raw[:])
	return token, writeState(path, []byte(token+"\n"), 0o600)
}

// writeState writes a file that is at every moment the old one or the new one.
func writeState(path string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing %q: %w", path, err)
	}
	return nil
}

// lockDataDir makes a data directory, for this user alone, and keeps other daemons
// out of it until the lock is closed. The error names the process that has it.
func lockDataDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	path := filepath.Join(dir, lockFile)
	lock, err := disk.Lock(path, 0o644)
	if errors.Is(err, disk.ErrLocked) {
		who := "another viewtcp serve"
		if b, rerr := os.ReadFile(path); rerr == nil && len(b) > 0 {
			who += " (pid " + string(bytes.TrimSpace(b)) + ")"
		}
		return nil, fmt.Errorf("%s has the data directory %q: stop it, or give this one another with --data", who, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	// Whoever finds it locked reads this.
	_, err = lock.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	if err = errors.Join(lock.Truncate(int64(len(strconv.Itoa(os.Getpid())))), err); err != nil && !disk.IsFull(err) {
		return nil, errors.Join(fmt.Errorf("data directory: %w", err), lock.Close())
	}
	return lock, nil
}
