package filter

import (
	"slices"
	"strings"
	"testing"
)

// completions says what is offered at the end of a text: words that must be
// among them, and after a "!" words that must not.
var completions = []struct{ text, want string }{
	{"", "state port rtt host not src !and !established"},
	{"st", "state !src !port"},
	{"ST", "state"},
	{"state ", "established time-wait connected == in ~ !port !<"},
	{"state est", "established !state"},
	{"state established ", "and or xor port rtt !established !=="},
	{"state established a", "and asn !or"},
	{"state established and ", "port rtt state not !and"},
	{"state established and (", "port rtt !and"},
	{"state in {", "established listening"},
	{"state in {listening, ", "established"},
	{"rtt", "rtt rtt_us rttvar"},
	{"rtt ", "> < == in between !~ !and"},
	{"process ", "== ~ contains in !rtt"},
	{"dport = :", "https ssh !state"},
	{"dport = :ht", "http https !ssh"},
	{"port h", "http https"},
	{"src ", "host net port == !established"},
	{"src p", "port portrange"},
	{"direction ", "inbound outbound =="},
	{"direction == in", "inbound !outbound"},
	{"direction in {", "inbound outbound"},
	{"has(", "rtt pid !and"},
	{"has(co", "country container"},
	{"complete ", "and port == !established"},
	{"complete == ", "true false"},
	{"opened > ", "now-1h today yesterday"},
	{"tcp.fl", "tcp.flags.syn tcp.flags.reset"},
	{"tcp.flags.syn ", "== and"},
	{"tcp.flags.syn == ", "0 1"},
	{"not ", "state port !and"},
	{"rtt > 5ms or ", "state port !and"},
	{"close_reason ", "refused rst_sent"},
}

func TestComplete(t *testing.T) {
	for _, tt := range completions {
		t.Run(tt.text, func(t *testing.T) {
			got := Complete(tt.text, len(tt.text))
			if !slices.IsSorted(got) {
				t.Errorf("not sorted: %q", got)
			}
			for w := range strings.FieldsSeq(tt.want) {
				w, absent := strings.CutPrefix(w, "!")
				if w == "" || w == "~" && absent { // "!" begins no word that is offered
					w = "!" + w
				}
				if slices.Contains(got, w) == absent {
					t.Errorf("%q: offered is %v in %q", w, !absent, got)
				}
			}
		})
	}
	// The cursor counts, not the end.
	if got := Complete("sta established", 3); !slices.Equal(got, []string{"state"}) {
		t.Errorf("got %q", got)
	}
	// Nothing is offered inside quotes, after an error and outside the text.
	for _, text := range []string{`process "ng`, "port 80 ) ", "rttt > "} {
		if got := Complete(text, len(text)); got != nil {
			t.Errorf("%q: got %q", text, got)
		}
	}
	Complete("state", -1)
	Complete("state", 99)
}
