package parquet

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// expireDamaged removes what was set aside long ago, and the oldest of it beyond
// its size. How old a file is, it says itself: a segment that was set aside is as
// old as its rows. It is called with maintaining held.
func (e *Engine) expireDamaged() error {
	bound := e.cfg.Damaged
	if bound == (Retention{}) {
		return nil
	}
	entries, err := e.fs.ReadDir(damagedDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing what was set aside: %w", err)
	}
	var files []fs.FileInfo
	var size int64
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() { // else it has just gone
			files = append(files, info)
			size += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	oldest := e.cfg.Now().Add(-bound.Age)
	for _, f := range files {
		old := bound.Age > 0 && f.ModTime().Before(oldest)
		if large := bound.Bytes > 0 && size > bound.Bytes; !old && !large {
			break
		}
		name := damagedDir + "/" + f.Name()
		if err := e.fs.Remove(name); err != nil {
			return fmt.Errorf("removing %q, which was set aside: %w", name, err)
		}
		e.log.Info("damaged data that was set aside is gone", "file", name, "bytes", f.Size(), "of", f.ModTime())
		size -= f.Size()
	}
	return nil
}
