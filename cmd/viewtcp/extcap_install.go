package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/viewtcp/viewtcp/internal/output"
)

// extcapName is what the program is called in the folder of Wireshark.
const extcapName = "viewtcp-extcap"

// extcapDirs are the user's own folders: that of Wireshark 4.2 and later, and
// that of older ones, below the configuration.
func extcapDirs() ([]string, error) {
	config := os.Getenv("WIRESHARK_CONFIG_DIR")
	if config == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("finding the folders of Wireshark: %w", err)
		}
		name := "wireshark"
		if runtime.GOOS == "windows" {
			name = "Wireshark"
		}
		config = filepath.Join(dir, name)
	}
	dirs := []string{filepath.Join(config, "extcap")}
	if runtime.GOOS == "windows" {
		return dirs, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("finding the folders of Wireshark: %w", err)
	}
	return append(dirs, filepath.Join(home, ".local", "lib", "wireshark", "extcap")), nil
}

// link puts the program where Wireshark looks for it, and says where that is.
func (x *extcapFlags) link(e env) error {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	dirs := []string{x.dir}
	if x.dir == "" {
		if dirs, err = extcapDirs(); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, extcapName)
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as Wireshark makes it
			return fmt.Errorf("making a folder of Wireshark: %w", err)
		}
		if err := install(self, path); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(e.stdout, output.Clean(path)); err != nil {
			return err
		}
	}
	e.warn("Wireshark shows the interface " + extcapInterface + " from its next start on (Help > About > Folders says where it looks)")
	return nil
}

// install links a program; where there are no links it copies it. A file that is
// something else stays.
func install(program, path string) error {
	if runtime.GOOS == "windows" {
		return copyProgram(program, path+".exe")
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != os.ModeSymlink {
			return fmt.Errorf("installing %s: a file that is no link is there: %w", path, os.ErrExist)
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("installing: %w", err)
		}
	}
	if err := os.Symlink(program, path); err != nil {
		return fmt.Errorf("installing: %w", err)
	}
	return nil
}

func copyProgram(from, to string) error {
	return replaceFile(to, func(w io.Writer) error {
		f, err := os.Open(from)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	})
}
