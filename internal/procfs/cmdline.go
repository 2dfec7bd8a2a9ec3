package procfs

import (
	"bytes"
	"slices"
	"strings"
)

// maxCmdline bounds the text kept of a command line, in bytes.
const maxCmdline = 4096

// readCmdline is how much of a command line is read: more than is kept, so that
// a secret is recognised although what follows it is cut off.
const readCmdline = 2 * maxCmdline

// mask stands for a secret.
const mask = "***"

// commandLine turns the arguments of a process (each ended by a zero byte) into
// one text with blanks between them and *** for what looks like a secret. What
// cannot be told apart is masked rather than shown. cut says that more follows b.
func commandLine(b []byte, cut bool) string {
	b = bytes.TrimRight(b, "\x00")
	if cut {
		// The last argument is incomplete: what would mark it as a secret may
		// be missing.
		if i := bytes.LastIndexByte(b, 0); i >= 0 {
			b = b[:i]
		}
	}
	if len(b) == 0 {
		return ""
	}
	out := make([]byte, 0, min(len(b)+16, maxCmdline))
	var program string
	hide := hideNone
	rest := string(b)
	for i := 0; ; i++ {
		arg, more, found := strings.Cut(rest, "\x00")
		rest = more
		if i > 0 {
			out = append(out, ' ')
		}
		switch {
		case i == 0:
			program = baseName(arg)
			out = appendMasked(out, arg)
		case hide != hideNone && !strings.HasPrefix(arg, "-"):
			out = appendHidden(out, arg, hide)
			hide = hideNone
		default:
			out, hide = appendArgument(out, arg, program)
		}
		if !found || len(out) > maxCmdline {
			break
		}
	}
	return string(out[:min(len(out), maxCmdline)])
}

// hiding says how much of a value is secret.
type hiding uint8

const (
	hideNone hiding = iota
	hideAll
	// hideAfterColon keeps the user of "user:password".
	hideAfterColon
	// hideAfterPercent keeps the user of "user%password".
	hideAfterPercent
)

func appendHidden(out []byte, value string, h hiding) []byte {
	separator := byte(':')
	switch h {
	case hideNone:
		return appendMasked(out, value)
	case hideAll:
		return append(out, mask...)
	case hideAfterPercent:
		separator = '%'
	case hideAfterColon:
	}
	i := strings.IndexByte(value, separator)
	if i < 0 {
		return appendMasked(out, value)
	}
	out = append(out, value[:i+1]...)
	return append(out, mask...)
}

// appendArgument appends one argument after the first. next says what of the
// following argument is a secret.
func appendArgument(out []byte, arg, program string) (_ []byte, next hiding) {
	if flag, h := shortFlag(program, arg); h != hideNone {
		out = append(out, flag...)
		if len(flag) == len(arg) {
			return out, h
		}
		return appendHidden(out, arg[len(flag):], h), hideNone
	}
	if name := strings.TrimLeft(arg, "-"); len(name) < len(arg) && isSecretFlag(name) {
		return append(out, arg...), hideAll
	}
	return appendMasked(out, arg), hideNone
}

// shortFlags lists the one-letter flags that carry a secret, by program.
var shortFlags = []struct {
	programs string // each between blanks
	flag     string
	hide     hiding
	// joined says that the value only ever follows without a blank.
	joined bool
}{
	{" mysql mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mysqlslap mysqlbinlog mysqlpump mysqlsh mariadb mariadb-dump mariadb-admin mariadb-import mariadb-show mariadb-check mariadb-binlog xtrabackup mariabackup innobackupex ", "-p", hideAll, true},
	{" sshpass mongo mongosh mongodump mongorestore mongoexport mongoimport cqlsh docker podman nerdctl htpasswd ", "-p", hideAll, false},
	{" redis-cli valkey-cli keydb-cli ", "-a", hideAll, false},
	{" ldapsearch ldapmodify ldapadd ldapdelete ldappasswd ldapwhoami ldapcompare ldapmodrdn rclone ", "-w", hideAll, false},
	{" sqlcmd bcp isql osql ipmitool mosquitto_pub mosquitto_sub xfreerdp ", "-P", hideAll, false}, //nolint:misspell // programs are called so
	{" curl ", "-u", hideAfterColon, false},
	{" curl ", "-U", hideAfterColon, false},
	{" curl ", "--user", hideAfterColon, false},
	{" curl ", "--proxy-user", hideAfterColon, false},
	{" smbclient rpcclient net smbmap ", "-U", hideAfterPercent, false},
	{" snmpget snmpwalk snmpset snmpbulkwalk snmpbulkget ", "-A", hideAll, false},
	{" snmpget snmpwalk snmpset snmpbulkwalk snmpbulkget ", "-X", hideAll, false},
	{" snmpget snmpwalk snmpset snmpbulkwalk snmpbulkget ", "-c", hideAll, false},
}

// shortFlag returns the flag at the start of arg that carries a secret for the
// program, and what of its value is to be hidden.
func shortFlag(program, arg string) (flag string, h hiding) {
	if len(arg) < 2 || arg[0] != '-' || program == "" {
		return "", hideNone
	}
	for i := range shortFlags {
		f := &shortFlags[i]
		if !strings.HasPrefix(arg, f.flag) || len(arg) == len(f.flag) && f.joined {
			continue
		}
		flag = f.flag
		if rest := arg[len(f.flag):]; len(f.flag) > 2 && rest != "" {
			if rest[0] != '=' {
				continue // a longer flag
			}
			flag = arg[:len(f.flag)+1]
		}
		at := strings.Index(f.programs, program)
		if at > 0 && f.programs[at-1] == ' ' && f.programs[at+len(program)] == ' ' {
			return flag, f.hide
		}
	}
	return "", hideNone
}

func baseName(path string) string {
	path = path[strings.LastIndexByte(path, '/')+1:]
	if strings.ContainsRune(path, ' ') { // a title that the process gave itself
		return ""
	}
	return path
}

// secretWords mark a key as the name of a secret, wherever they stand in it.
// Case, dashes, dots and underscores do not count.
var secretWords = []string{
	"password", "passwd", "passphrase", "secret", "token", "apikey", "accesskey", "accountkey",
	"privatekey", "encryptionkey", "signingkey", "masterkey", "credential", "authorization",
	"connectionstring", "cookie", "sessionid", "signature",
}

// secretKeys are secret only as the whole last word of a key, because they are
// parts of harmless words.
var secretKeys = []string{"pass", "pwd", "psk", "pw", "pin", "bearer", "auth", "passin", "passout", "requirepass", "masterauth", "userpass"}

// maxKey bounds the keys looked at.
const maxKey = 96

// isSecretKey reports whether a key is called as secrets are.
func isSecretKey(key string) bool {
	if key == "" || len(key) > maxKey {
		return false
	}
	var folded [maxKey]byte
	n := 0
	last := 0 // where the last word begins in folded
	for i := range len(key) {
		c := key[i]
		switch {
		case c == '-' || c == '_' || c == '.':
			last = n
			continue
		case c >= 'A' && c <= 'Z':
			if i > 0 && key[i-1] >= 'a' && key[i-1] <= 'z' {
				last = n
			}
			c += 'a' - 'A'
		}
		folded[n] = c
		n++
	}
	if slices.Contains(secretKeys, string(folded[last:n])) {
		return true
	}
	for _, w := range secretWords {
		if bytes.Contains(folded[:n], []byte(w)) {
			return true
		}
	}
	return false
}

// isSecretFlag reports whether an argument that is a flag alone announces a
// secret in the next one. A file that holds a secret is none.
func isSecretFlag(name string) bool {
	for i := range len(name) {
		if !isKeyByte(name[i]) {
			return false
		}
	}
	return isSecretKey(name) && !namesFile(name)
}

// namesFile reports whether a key is of a place where a secret is found.
func namesFile(key string) bool {
	for _, suffix := range []string{"file", "path", "dir", "File", "Path", "Dir", "FILE", "PATH", "DIR", "stdin"} {
		if strings.HasSuffix(key, suffix) {
			return true
		}
	}
	return false
}

func isKeyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// appendMasked appends an argument with the values of secret keys and the
// passwords of URLs masked. After a secret key all up to the end of the argument
// counts as its value: a password may hold any character.
func appendMasked(out []byte, arg string) []byte {
	start := 0 // what is before it has been appended
	for i := 0; i < len(arg); i++ {
		switch arg[i] {
		case '=', ':':
			key := keyBefore(arg[start:i])
			if isSecretKey(key) && !namesFile(key) {
				return hideRest(out, arg[start:], i+1-start)
			}
		case ' ', '\t', '\n':
			// A command within an argument, as of sh -c, or a process title.
			key := keyBefore(arg[start:i])
			if name := strings.TrimLeft(key, "-"); len(name) < len(key) && isSecretFlag(name) {
				return hideRest(out, arg[start:], i+1-start)
			}
			if strings.EqualFold(key, "bearer") {
				return hideRest(out, arg[start:], i+1-start)
			}
		case '@':
			from, to := userInfo(arg, start, i)
			if from > 0 {
				out = append(out, arg[start:from]...)
				out = append(out, mask...)
				start = to
				i = to
			}
		}
	}
	return append(out, arg[start:]...)
}

// hideRest appends arg up to at, any blanks and quotes after it, and the mask.
func hideRest(out []byte, arg string, at int) []byte {
	for at < len(arg) && (arg[at] == ' ' || arg[at] == '"' || arg[at] == '\'') {
		at++
	}
	out = append(out, arg[:at]...)
	if at == len(arg) {
		return out
	}
	return append(out, mask...)
}

// keyBefore returns the key at the end of s, quotes and blanks after it skipped.
func keyBefore(s string) string {
	s = strings.TrimRight(s, ` "'`)
	i := len(s)
	for i > 0 && len(s)-i <= maxKey && isKeyByte(s[i-1]) {
		i--
	}
	return s[i:]
}

// userInfo finds the password of "user:password@host", in a URL or alone, given
// that arg[at] is an @ and that nothing before start counts. from is 0 when
// there is none; to is the place of the @ that ends it.
func userInfo(arg string, start, at int) (from, to int) {
	begin := start + strings.LastIndexAny(arg[start:at], " \t\n\"'=,;|") + 1
	if i := strings.Index(arg[begin:at], "://"); i >= 0 {
		begin += i + len("://")
	}
	colon := strings.IndexByte(arg[begin:at], ':')
	if colon < 0 {
		return 0, 0
	}
	from = begin + colon + 1
	// "registry:5000/image@sha256:…" has a port there, and no user before it.
	if slash := strings.IndexByte(arg[from:at], '/'); slash > 0 && isDecimal(arg[from:from+slash]) {
		return 0, 0
	}
	// The password may itself hold an @: the last one before the path counts.
	end := at + 1
	if i := strings.IndexAny(arg[end:], " \t\n\"'/?#"); i >= 0 {
		end += i
	} else {
		end = len(arg)
	}
	to = strings.LastIndexByte(arg[:end], '@')
	if from == to {
		return 0, 0
	}
	return from, to
}
