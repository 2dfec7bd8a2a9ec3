package demo

import "strings"

// HostileTexts are what a process may call itself, to act on a terminal, to
// disguise itself, or to break the layout.
func HostileTexts() []string {
	texts := []string{
		"\x1b]0;owned\a", "\x1b[2J\x1b[H", "\x1b]52;c;b3duZWQ=\a", "a\nb", "a\r\nb", "tab\there", "\u202eevil", "a\u2066b\u2069",
		"\u200bzero", "\ufeffbom", "\u009b31m", "\x9b31m", "\xff\xfe", "\x7f", "é\x80", "\u2028line", "\U000e0001tag", "nul\x00nul",
		"日本語", "smile 😀", "", "e\u0301\u0301\u0301", "👨\u200d👩\u200d👧", "🇩🇪🇫🇷", "👍🏽", "각", "\u1112\u1161\u11ab", "क्षि", "❤\ufe0f", "ﷺ",
		strings.Repeat("x", 5000), strings.Repeat("日", 200),
	}
	for c := range 0xa0 {
		texts = append(texts, "x"+string(rune(c))+"y", "x"+string([]byte{byte(c)})+"y")
	}
	return texts
}
