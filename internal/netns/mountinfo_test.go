package netns

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadMounts(t *testing.T) {
	const text = `22 1 252:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 22 0:4 net:[4026532177] /run/netns/blue rw shared:5 - nsfs nsfs rw
32 22 0:4 net:[4026532999] /run/netns/with\040space\134and\011tab rw - nsfs nsfs rw
33 22 0:4 mnt:[4026532178] /run/mnt rw - nsfs nsfs rw
34 22 0:4 net:[99999999999] /too/large rw - nsfs nsfs rw
35 22 0:4 net:[12 /cut rw - nsfs nsfs rw
36 22 0:4 net:[5]

`
	type mount struct {
		Inode uint32
		Path  string
	}
	var got []mount
	err := readMounts(strings.NewReader(text), func(ino uint32, path string) { got = append(got, mount{ino, path}) })
	if err != nil {
		t.Fatal(err)
	}
	want := []mount{{4026532177, "/run/netns/blue"}, {4026532999, "/run/netns/with space\\and\ttab"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	broken := errors.New("broken")
	if err := readMounts(io.MultiReader(strings.NewReader(text), errReader{broken}), func(uint32, string) {}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := readMounts(strings.NewReader(strings.Repeat("x", maxMountLine+1)), func(uint32, string) {}); err == nil {
		t.Error("an endless line was read")
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestUnescape(t *testing.T) {
	tests := []struct{ in, want string }{
		{"/plain", "/plain"},
		{`/a\040b`, "/a b"},
		{`\134040`, `\040`},
		{`/end\`, `/end\`},
		{`/end\04`, `/end\04`},
		{`/not\09octal`, `/not\09octal`},
		{`/beyond\777`, `/beyond\777`},
	}
	for _, tt := range tests {
		if got := unescape(tt.in); got != tt.want {
			t.Errorf("unescape(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestString(t *testing.T) {
	if got := (Namespace{Inode: 4026531840}).String(); got != "net:[4026531840]" {
		t.Error(got)
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte("31 22 0:4 net:[4026532177] /run/netns/a\\040b rw - nsfs nsfs rw\n"))
	f.Add([]byte("1 2 3 net:[1] \\\\\\1\\12\\777"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = readMounts(bytes.NewReader(b), func(_ uint32, path string) {
			if path == "" || len(path) > len(b) {
				t.Errorf("path %q", path)
			}
		})
		_ = unescape(string(b))
	})
}
