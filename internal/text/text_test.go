package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"nginx": "nginx", "\x1b[31m": `\x1b[31m`, "a\nb\tc\r": `a\nb\tc\r`, "\u202e": `\u202e`,
		"\u0085": `\x85`, "\xff": `\xff`, "日本": "日本", "\U000e0001": `\U000e0001`, "": "",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzClean checks that nothing which acts on a terminal is left of any text, and
// that a harmless one stays as it is.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"nginx", "\x1b]0;owned\a", "a\r\nb", "\u202eevil", "\u009b31m", "\x9b31m", "\U000e0001", "日本語 😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Clean(s)
		harmless := true
		for i, r := range s {
			_, n := utf8.DecodeRuneInString(s[i:])
			harmless = harmless && !Hostile(r) && (r != utf8.RuneError || n > 1)
		}
		if harmless && got != s {
			t.Errorf("Clean(%q) = %q", s, got)
		}
		if i := strings.IndexFunc(got, Hostile); i >= 0 || !utf8.ValidString(got) {
			t.Errorf("Clean(%q) = %q", s, got)
		}
	})
}

func TestHumanUnits(t *testing.T) {
	for us, want := range map[uint64]string{
		0: "0µs", 850: "850µs", 1000: "1.00ms", 12_345: "12.3ms", 123_456: "123ms", 999_999: "999ms",
		1_000_000: "1.00s", 59_999_999: "59.9s", 60_000_000: "1m00s", 192_000_000: "3m12s",
		3600_000_000: "1h00m", 7_500_000_000: "2h05m", 86_400_000_000: "1d00h", 964_800_000_000: "11d04h",
	} {
		if got := string(AppendMicros(nil, us)); got != want {
			t.Errorf("%d µs is %q, want %q", us, got, want)
		}
	}
	for n, want := range map[int64]string{
		0: "0", 7: "7", -7: "-7", 999: "999", -999: "-999", 1000: "1,000", -1000: "-1,000", 123_456: "123,456", 1_234_567: "1,234,567",
		1<<63 - 1: "9,223,372,036,854,775,807",
	} {
		if got := string(AppendCount([]byte("n="), n)); got != "n="+want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[uint64]string{
		0: "0", 1023: "1023", 1024: "1.00K", 1536: "1.50K", 10239: "9.99K", 10240: "10.0K", 1 << 20: "1.00M",
		1023 << 10: "1023K", 1<<64 - 1: "15.9E", 1 << 60: "1.00E",
	} {
		if got := string(AppendBytes(nil, n)); got != want {
			t.Errorf("%d bytes is %q, want %q", n, got, want)
		}
	}
}
