package procfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/viewtcp/viewtcp/internal/tcp"
)

func fixture(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestStat(t *testing.T) {
	const start = 12345678 * tcp.StartGranularity
	for _, tt := range []struct {
		file, comm string
		start      uint64
		parent     int32
		alive      bool
	}{
		{"plain", "cat", start, 1, true},
		{"parentheses", "a) S 1 (b) c", start, 1, true},
		{"newline", "new\nline 1 (x", start, 1, true},
		{"empty-name", "", start, 1, true},
		{"bytes", "\x1b[31m\xff\x80", start, 1, true},
		{"kernel-thread", "kworker/u8:2-ev", 42 * tcp.StartGranularity, 2, false},
		{"zombie", "dead", start, 1, false},
	} {
		t.Run(tt.file, func(t *testing.T) {
			s, err := parseStat(fixture(t, "stat/"+tt.file+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			if s.pid != 77 || s.comm.String() != tt.comm || s.start != tt.start || s.parent != tt.parent || s.alive() != tt.alive {
				t.Errorf("got %+v (%q, alive %v), want %+v", s, s.comm, s.alive(), tt)
			}
		})
	}
	whole := string(fixture(t, "stat/plain.txt"))
	for _, bad := range []string{
		"", "77", "77 (cat", "77 (cat)", "77 (cat) S 1", "cat) (77 S", "x (cat) S 1", "0 (cat)" + whole[8:],
		"99999999999 (cat)" + whole[8:], strings.Replace(whole, "12345678", "-5", 1),
		strings.Replace(whole, "12345678", "18446744073709551615", 1),
	} {
		if s, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q parsed as %+v", bad, s)
		}
	}
}

func TestUID(t *testing.T) {
	for _, tt := range []struct {
		text string
		uid  uint32
		ok   bool
	}{
		{"Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\t5\t5\t5\n", 1000, true},
		{"Name:\tx\\nUid:\t7\nUid:\t4294967294\t1\t1\t1\n", 4294967294, true},
		{"Name:\tx\n", 0, false},
		{"Name:\tx\nUid:\tx\n", 0, false},
		{"Name:\tx\nUid:\t4294967296\n", 0, false},
		{"", 0, false},
	} {
		if uid, ok := parseUID([]byte(tt.text)); uid != tt.uid || ok != tt.ok {
			t.Errorf("parseUID(%q) = %d, %v", tt.text, uid, ok)
		}
	}
}

func TestCgroup(t *testing.T) {
	const (
		id   = "3f9c1e5a7b2d4c6e8f0a1b2c3d4e5f60718293a4b5c6d7e8f9012345678900ab"
		cut  = "3f9c1e5a7b2d"
		pods = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2f0c6d1e_aaaa_bbbb_cccc_0123456789ab.slice/"
	)
	tests := []struct {
		file string
		want placement
	}{
		{"v2-service", placement{"/system.slice/nginx.service", "", "nginx.service"}},
		{"v2-root", placement{"/", "", ""}},
		{"v2-docker-systemd", placement{"/system.slice/docker-" + id + ".scope", cut, "docker-" + id + ".scope"}},
		{"v2-docker-cgroupfs", placement{"/docker/" + id, cut, ""}},
		{"v2-docker-inner-systemd", placement{"/system.slice/docker-" + id + ".scope/system.slice/postgresql.service", cut, "docker-" + id + ".scope"}},
		{"v2-kubernetes-containerd", placement{pods + "cri-containerd-" + id + ".scope", cut, "cri-containerd-" + id + ".scope"}},
		{"v2-kubernetes-cgroupfs", placement{"/kubepods/besteffort/pod2f0c6d1e-aaaa-bbbb-cccc-0123456789ab/" + id, cut, ""}},
		{"v2-kubernetes-in-unit", placement{
			"/system.slice/containerd.service/kubepods-besteffort-pod2f0c6d1e_aaaa_bbbb_cccc_0123456789ab.slice:cri-containerd:" + id,
			cut, "containerd.service",
		}},
		{"v2-crio", placement{"/kubepods.slice/kubepods-pod2f0c6d1e.slice/crio-" + id + ".scope/container", cut, "crio-" + id + ".scope"}},
		{"v2-crio-conmon", placement{"/kubepods.slice/kubepods-pod2f0c6d1e.slice/crio-conmon-" + id + ".scope", "", "crio-conmon-" + id + ".scope"}},
		{"v2-podman-root", placement{"/machine.slice/libpod-" + id + ".scope/container", cut, "libpod-" + id + ".scope"}},
		{"v2-podman-user", placement{
			"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope/container", cut, "libpod-" + id + ".scope",
		}},
		{"v2-podman-quadlet", placement{"/system.slice/web.service/libpod-payload-" + id, cut, "web.service"}},
		{"v2-user-unit", placement{
			"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.example.Editor-4242.scope", "", "app-org.example.Editor-4242.scope",
		}},
		{"v2-user-manager", placement{"/user.slice/user-1000.slice/user@1000.service/init.scope", "", "init.scope"}},
		{"v2-session", placement{"/user.slice/user-1000.slice/session-3.scope", "", "session-3.scope"}},
		{"v2-init", placement{"/init.scope", "", "init.scope"}},
		{"v2-escaped", placement{"/system.slice/_cpu.service", "", "cpu.service"}},
		{"v2-template", placement{"/system.slice/system-getty.slice/getty@tty1.service", "", "getty@tty1.service"}},
		{"v2-lxc", placement{"/lxc.payload.web-1/system.slice/nginx.service", "web-1", ""}},
		{"v1-lxc", placement{"/lxc/web-1/system.slice/nginx.service", "web-1", ""}},
		{"v2-nspawn", placement{`/machine.slice/systemd-nspawn@web\x2d1.service/payload/system.slice/nginx.service`, "web-1", `systemd-nspawn@web\x2d1.service`}},
		{"v2-machine", placement{`/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/emulator`, "qemu-1-vm", `machine-qemu\x2d1\x2dvm.scope`}},
		{"v2-outside-namespace", placement{"/../../system.slice/cron.service", "", "cron.service"}},
		{"v2-deleted", placement{"/system.slice/old.service", "", "old.service"}},
		{"v2-ecs", placement{"/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-3141592653", "0123456789ab", ""}},
		{"v2-nested", placement{"/docker/" + id + "/docker/aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999", "aaaabbbbcccc", ""}},
		{"v1-docker", placement{"/docker/" + id, cut, "containerd.service"}},
		{"hybrid-systemd", placement{"/system.slice/sshd.service", "", "sshd.service"}},
		{"hybrid-empty-unified", placement{"/docker/" + id, cut, "sshd.service"}},
		{"hybrid-nothing", placement{"/", "", ""}},
		{"v1-only", placement{"/user.slice/user-1000.slice/session-c1.scope", "", "session-c1.scope"}},
		{"hostile", placement{"/a:b/docker-" + id + ".scope:c/../\x1b[31m/x y.service", "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			got := parseCgroup(string(fixture(t, "cgroup/"+tt.file+".txt")))
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(placement{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	files, err := filepath.Glob("testdata/cgroup/*.txt")
	if err != nil || len(files) != len(tests) {
		t.Errorf("%d fixtures for %d tests, err %v", len(files), len(tests), err)
	}
}

func TestCommandLine(t *testing.T) {
	for _, tt := range []struct{ name, args, want string }{
		{"nothing", "", ""},
		{"plain", "nginx -g 'daemon off;'", "nginx -g 'daemon off;'"},
		{"trailing zeros of a title", "postgres: writer\x00\x00\x00\x00", "postgres: writer"},
		{"empty argument stays", "a||b", "a  b"},
		{"long flag with value", "app|--password=x y|--port=1", "app --password=*** --port=1"},
		{"long flag before value", "app|--password|hunter2|--port|1", "app --password *** --port 1"},
		{"long flag without value", "app|--password|--port|1", "app --password --port 1"},
		{"every kind of name", "app|--db-password=a|--api_key|b|-DkeyStorePassword=c|--accessToken=d|-auth|e", "app --db-password=*** --api_key *** -DkeyStorePassword=*** --accessToken=*** -auth ***"},
		{"file with a secret is none", "app|--password-file=/etc/app/pw|--token-path|/run/token|--keyfile|x", "app --password-file=/etc/app/pw --token-path /run/token --keyfile x"},
		{"harmless names", "app|--author=me|--passive|x|--tokenizer-like|--bypass=1|--spin|3|--keepalive=5", "app --author=me --passive x --tokenizer-like --bypass=1 --spin 3 --keepalive=5"},
		{"environment", "env|AWS_SECRET_ACCESS_KEY=abc/def|HOME=/root|PGPASSWORD=x|app", "env AWS_SECRET_ACCESS_KEY=*** HOME=/root PGPASSWORD=*** app"},
		{"mysql", "/usr/bin/mysql|-uroot|-phunter2|-p|db", "/usr/bin/mysql -uroot -p*** -p db"},
		{"the same flag of another program", "ssh|-p|22|-p2222|example.net", "ssh -p 22 -p2222 example.net"},
		{"sshpass", "sshpass|-p|hunter2|ssh|h", "sshpass -p *** ssh h"},
		{"sshpass joined", "sshpass|-phunter2|ssh", "sshpass -p*** ssh"},
		{"redis", "redis-cli|-h|192.0.2.1|-a|hunter2", "redis-cli -h 192.0.2.1 -a ***"},
		{"curl user", "curl|-u|me:hunter2|https://example.net/", "curl -u me:*** https://example.net/"},
		{"curl user joined", "curl|-ume:hunter2|--user=you:x|--proxy-user|p:q", "curl -ume:*** --user=you:*** --proxy-user p:***"},
		{"curl user alone", "curl|-u|me", "curl -u me"},
		{"curl header", "curl|-H|Authorization: Bearer abc.def|-H|Accept: x", "curl -H Authorization: *** -H Accept: x"},
		{"samba", "smbclient|-U|me%hunter2|//h/s", "smbclient -U me%*** //h/s"},
		{"URL", "app|postgres://me:hunter2@192.0.2.1:5432/db?sslmode=x", "app postgres://me:***@192.0.2.1:5432/db?sslmode=x"},
		{"URL with @ and / in the password", "app|https://me:a@b@example.net/|amqp://u:p/q@h/", "app https://me:***@example.net/ amqp://u:***@h/"},
		{"URL within a value", "app|--dsn=mysql://me:pw@h/db", "app --dsn=mysql://me:***@h/db"},
		{"several URLs", "app|a://u:p@h,b://v:q@i", "app a://u:***@h,b://v:***@i"},
		{"query", "app|https://h/?user=me&token=abc&x=1", "app https://h/?user=me&token=***"},
		{"no scheme", "app|root:pw@tcp(192.0.2.1:3306)/db", "app root:***@tcp(192.0.2.1:3306)/db"},
		{"address with a port is no user", "docker|pull|registry.example.net:5000/img@sha256:abc|https://h:8080/a@b", "docker pull registry.example.net:5000/img@sha256:abc https://h:8080/a@b"},
		{"ssh address is none", "ssh|me@192.0.2.1|git@example.net:a/b", "ssh me@192.0.2.1 git@example.net:a/b"},
		{"JSON", `app|{"user":"me","password": "x","y":1}`, `app {"user":"me","password": "***`},
		{"shell", "sh|-c|mysql --password hunter2 -h x", "sh -c mysql --password ***"},
		{"openssl", "openssl|rsa|-passin|pass:hunter2", "openssl rsa -passin ***"},
		{"secret in the program's name", "TOKEN=x app", "TOKEN=***"},
		{"no value", "app|--password=", "app --password="},
		{"any bytes", "a\xff\x1b[31m|\xc3", "a\xff\x1b[31m \xc3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := strings.ReplaceAll(tt.args, "|", "\x00") + "\x00"
			if strings.Contains(tt.args, "\x00") {
				in = tt.args
			}
			if got := commandLine([]byte(in), false); got != tt.want {
				t.Errorf("commandLine(%q)\n got %q\nwant %q", tt.args, got, tt.want)
			}
		})
	}
}

func TestCommandLineCut(t *testing.T) {
	// The last argument may be half of a URL whose @ is missing.
	in := strings.Repeat("x\x00", 100) + "db://me:hunter2"
	if got := commandLine([]byte(in), true); strings.Contains(got, "hunter") || !strings.HasSuffix(got, "x x") {
		t.Errorf("got %q", got)
	}
	long := "app\x00--password=" + strings.Repeat("p", 2*maxCmdline)
	if got := commandLine([]byte(long), true); got != "app" {
		t.Errorf("got %q", got[:20])
	}
	if got := commandLine([]byte(strings.Repeat("y", readCmdline)), true); len(got) != maxCmdline {
		t.Errorf("%d bytes", len(got))
	}
	if got := commandLine([]byte(strings.Repeat("ab\x00", 3000)), true); len(got) > maxCmdline {
		t.Errorf("%d bytes", len(got))
	}
}

func TestPasswd(t *testing.T) {
	got := parsePasswd("root:x:0:0:root:/root:/bin/sh\n# c:x:5:\n\n+nis:x:6:\nbad\nworse:x\ntoor:x:0:0::/:\nnobody:x:65534:65534::/:\nx:x:-1:\nlast:x:7")
	want := map[uint32]string{0: "root", 65534: "nobody", 7: "last"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProcMount(t *testing.T) {
	const info = `22 1 0:20 / /proc rw,relatime shared:5 - proc proc rw
30 22 0:21 / /host/proc rw - proc proc rw,gid=4,hidepid=invisible
31 22 0:22 / /pids rw - proc none rw,hidepid=1,subset=pid
broken
40 1 8:1 / / rw - ext4 /dev/vda rw
`
	for _, tt := range []struct {
		at, hidepid string
		gid         int
		only, ok    bool
	}{
		{"/proc", "", -1, false, true},
		{"/host/proc", "invisible", 4, false, true},
		{"/pids", "noaccess", -1, true, true},
		{"/", "", -1, false, false},
		{"/nowhere", "", -1, false, false},
	} {
		options, ok := procMount(info, tt.at)
		hidepid, gid, only := procOptions(options)
		if ok != tt.ok || hidepid != tt.hidepid || gid != tt.gid || only != tt.only {
			t.Errorf("%s: %q, %q %d %v %v", tt.at, options, hidepid, gid, only, ok)
		}
	}
}

func TestVisibilityWarning(t *testing.T) {
	for _, tt := range []struct {
		name string
		v    Visibility
		want []string // parts of the warning
		ok   bool     // the feature is there at all
	}{
		{"root", Visibility{Processes: 5, SysPtrace: true, Initial: true, PIDNamespace: 1}, nil, true},
		{"user", Visibility{Processes: 5, Hidden: 3, Initial: true, PIDNamespace: 1}, []string{"3 of 5 processes", "CAP_SYS_PTRACE"}, true},
		{"hidepid", Visibility{Processes: 1, HidePID: "invisible", Initial: true}, []string{"hidepid=invisible", "gid option"}, true},
		{"hidepid of root", Visibility{Processes: 9, HidePID: "invisible", SysPtrace: true, Initial: true}, nil, true},
		{"container", Visibility{Processes: 2, SysPtrace: true, PIDNamespace: 7}, []string{"pid namespace", "--pid=host"}, true},
		{"nothing at all", Visibility{Processes: 2, Hidden: 2, Initial: true}, []string{"2 of 2"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.v.Warning()
			if (w == "") != (tt.want == nil) || strings.Contains(w, "\n") {
				t.Errorf("warning %q", w)
			}
			for _, part := range tt.want {
				if !strings.Contains(w, part) {
					t.Errorf("warning %q lacks %q", w, part)
				}
			}
			f := tt.v.Feature()
			if f.Available != tt.ok || f.Reason == "" || (f.Remedy == "") != (tt.want == nil) {
				t.Errorf("feature %+v", f)
			}
		})
	}
}

func FuzzStat(f *testing.F) {
	files, _ := filepath.Glob("testdata/stat/*.txt")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStat(b)
		if err == nil && (s.pid <= 0 || s.parent < 0 || s.start%tcp.StartGranularity != 0) {
			t.Errorf("%+v", s)
		}
		parseUID(b)
		parseSocketLink(b)
		parsePasswd(string(b))
		if options, ok := procMount(string(b), "/proc"); ok {
			procOptions(options)
		}
	})
}

func FuzzCgroup(f *testing.F) {
	files, _ := filepath.Glob("testdata/cgroup/*.txt")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := parseCgroup(text)
		if p.path != "" && (p.path[0] != '/' || !strings.Contains(text, p.path)) {
			t.Errorf("path %q is not in the file", p.path)
		}
		if strings.ContainsAny(p.container+p.unit, "/") && !strings.Contains(text, `\x2`) {
			t.Errorf("%+v", p)
		}
	})
}

// FuzzCmdlineMask: the result is bounded, and a known secret never shows
// whatever stands around it.
func FuzzCmdlineMask(f *testing.F) {
	for _, s := range []string{
		"", "app\x00", "mysql\x00-p", "a\x00--user\x00x", "curl\x00-u\x00me:pw\x00", "https://a:b@c@d/", "x\x00{\"token\":", "sh\x00-c\x00app --password ",
	} {
		f.Add([]byte(s), []byte("tail"))
	}
	f.Fuzz(func(t *testing.T, before, after []byte) {
		const secret = "S3CR3TVALU3"
		if len(before)+len(after) > readCmdline-100 {
			return
		}
		for _, form := range []string{"\x00--password=" + secret + "\x00", "\x00--db-token\x00" + secret + "\x00", "\x00db://me:" + secret + "@h/\x00", "\x00API_KEY=" + secret + "\x00"} {
			in := append(append([]byte(nil), before...), form...)
			in = append(in, after...)
			got := commandLine(in, false)
			if len(got) > maxCmdline {
				t.Fatalf("%d bytes", len(got))
			}
			if strings.Contains(got, secret) && !strings.Contains(string(before)+string(after), secret) {
				t.Fatalf("%q shows the secret: %q", in, got)
			}
		}
	})
}
