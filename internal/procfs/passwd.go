package procfs

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// passwdCheck is how often the file is looked at for a change.
const passwdCheck = 5 * time.Second

// maxPasswd bounds the size of the file that is read, in bytes.
const maxPasswd = 16 << 20

// users finds the names of user ids in a file of the form of passwd(5), read
// again when it changes. Names that come from elsewhere (LDAP and the like)
// would need the C library and are unknown.
type users struct {
	path    string
	names   map[uint32]string
	checked time.Time
	size    int64
	mtime   time.Time
}

func (u *users) name(uid uint32, now time.Time) string {
	if u.checked.IsZero() || now.Sub(u.checked) >= passwdCheck || now.Before(u.checked) {
		u.checked = now
		u.reload()
	}
	return u.names[uid]
}

func (u *users) reload() {
	st, err := os.Stat(u.path)
	if err != nil || st.Size() > maxPasswd {
		u.names = nil
		return
	}
	if u.names != nil && st.ModTime().Equal(u.mtime) && st.Size() == u.size {
		return
	}
	b, err := os.ReadFile(u.path)
	if err != nil {
		u.names = nil
		return
	}
	u.names, u.mtime, u.size = parsePasswd(string(b)), st.ModTime(), st.Size()
}

// parsePasswd reads lines of name:password:uid:…. Of several names of one user
// the first counts, as in the C library.
func parsePasswd(text string) map[uint32]string {
	names := make(map[uint32]string)
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		if !ok || name == "" || name[0] == '#' || name[0] == '+' || name[0] == '-' {
			continue
		}
		_, rest, ok = strings.Cut(rest, ":")
		if !ok {
			continue
		}
		id, _, _ := strings.Cut(rest, ":")
		uid, err := strconv.ParseUint(strings.TrimSpace(id), 10, 32)
		if err != nil {
			continue
		}
		if _, taken := names[uint32(uid)]; !taken {
			names[uint32(uid)] = strings.Clone(name)
		}
	}
	return names
}
