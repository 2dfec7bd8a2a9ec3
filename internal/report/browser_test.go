package report

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shot keeps a screenshot where VIEWTCP_SCREENSHOTS says, for people to look at.
func (b *browser) shot(name string, whole bool) {
	b.t.Helper()
	if dir := os.Getenv("VIEWTCP_SCREENSHOTS"); dir != "" {
		b.frame()
		b.screenshot(filepath.Join(dir, name+".png"), whole)
	}
}

// clean fails the test when the browser complained or asked for anything.
func (b *browser) clean() {
	b.t.Helper()
	for _, p := range b.problems {
		b.t.Error(p)
	}
	if got := b.eval(`window.pwned === undefined`); got != true {
		b.t.Error("a name was run as a script")
	}
}

// column reads the cells in sight of one column, from above.
func (b *browser) column(name string) []string {
	b.t.Helper()
	text := b.eval(`(() => {
		const at = [...document.querySelectorAll('#table .vhead button')].findIndex(e => e.dataset.field === '` + name + `');
		return [...document.querySelectorAll('#table .vrow')].filter(r => !r.hidden).sort((a, b) => a.index - b.index).map(r => r.children[at].textContent).join('\n');
	})()`).(string)
	return strings.Split(text, "\n")
}

// inked counts the pixels of a canvas that are not those of the empty one.
const inked = `(c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0; for (let i = 3; i < d.length; i += 4) if (d[i]) n++; return n; })`

func bigWorld() *world {
	w := newWorld(1)
	w.showpiece(6_000_000)
	w.populate(3000)
	return w
}

func TestBrowser(t *testing.T) {
	b := newBrowser(t, 1440, 1000)
	b.media("screen", "light")
	path := bigWorld().collect(Options{Version: "v0.3.0"}).write(t)
	b.open(path, "")
	b.shot("home-light", true)

	t.Run("overview", func(t *testing.T) {
		for _, tile := range []string{"Connections\n3,001", "Retransmissions", "Resets\n150", "Unanswered\n75"} {
			if got := b.eval(`document.querySelector('#tiles').innerText`).(string); !strings.Contains(strings.ReplaceAll(got, "\n\n", "\n"), tile) {
				t.Errorf("no tile %q in %q", tile, got)
			}
		}
		for _, id := range []string{"traffic", "rtts"} {
			if n := b.eval(inked + `(document.getElementById('` + id + `'))`).(float64); n < 1000 {
				t.Errorf("%s has %v pixels", id, n)
			}
		}
	})
	t.Run("virtual", func(t *testing.T) {
		if n := b.eval(`document.querySelectorAll('#table .vrow').length`).(float64); n < 10 || n > 80 {
			t.Errorf("%v rows have elements", n)
		}
		b.eval(`document.querySelector('#table').scrollTop = 1e7`)
		b.until(`[...document.querySelectorAll('#table .vrow')].some(r => !r.hidden && r.index === 3000)`)
		got := b.column("stream")
		if last := got[len(got)-1]; last != "3,000" {
			t.Errorf("the last row is stream %s", last)
		}
	})
	t.Run("sort", func(t *testing.T) {
		b.eval(`document.querySelector('[data-field=bytes_received]').click()`)
		if got := b.column("stream")[0]; got != "0" {
			t.Errorf("stream %s has the most bytes", got)
		}
		if got := b.eval(`document.querySelector('[aria-sort=descending] button').dataset.field`); got != "bytes_received" {
			t.Errorf("sorted by %v", got)
		}
		b.eval(`document.querySelector('[data-field=bytes_received]').click()`)
		if got := b.column("bytes_received")[0]; got != "0 B" {
			t.Errorf("the least is %s", got)
		}
		b.eval(`document.querySelector('[data-field=remote]').click()`)
		got := b.column("remote")
		// 192.0.2.8 is before 192.0.2.10: by number, not by letter.
		if !strings.HasPrefix(got[0], "192.0.2.8:") {
			t.Errorf("sorted by address: %q", got[:3])
		}
	})
	t.Run("filter", func(t *testing.T) {
		for _, tt := range []struct{ text, shown string }{
			{"conn_state=REJ", "75 of 3,001"},
			{"conn_state=rej 5432", ""},
			{"resent>0 duration>1s", ""},
			{"stream<10", "10 of 3,001"},
			{"bytes_received>=1MiB", "1 of 3,001"},
			{"no such thing", "0 of 3,001"},
			{"", "3,001 connections"},
		} {
			b.eval(fmt.Sprintf(`(f => { f.value = %q; f.dispatchEvent(new Event('input')); })(document.querySelector('#filter'))`, tt.text))
			got := b.eval(`document.querySelector('#shown').textContent`).(string)
			if tt.shown != "" && got != tt.shown {
				t.Errorf("%q shows %s, want %s", tt.text, got, tt.shown)
			}
			if tt.shown == "" && (strings.HasPrefix(got, "0 ") || !strings.Contains(got, " of ")) {
				t.Errorf("%q shows %s", tt.text, got)
			}
		}
	})
	t.Run("columns", func(t *testing.T) {
		b.eval(`document.querySelector('#columns input[value=history], #columns input[value=wire_bytes_sent]').click()`)
		if got := b.eval(`!!document.querySelector('#table .vhead [data-field=history], #table .vhead [data-field=wire_bytes_sent]')`); got != true {
			t.Error("a column that was asked for is not there")
		}
		b.eval(`document.querySelector('#columns').open = true`)
		b.shot("columns", false)
		b.eval(`document.querySelector('#columns').open = false`)
	})
	t.Run("keyboard", func(t *testing.T) {
		b.eval(`document.querySelector('[data-field=stream]').click(); document.querySelector('#table').focus()`)
		for range 5 {
			b.key("ArrowDown")
		}
		b.key("Enter")
		b.until(`!document.querySelector('#detail').hidden`)
		if got := b.eval(`location.hash`); got != "#stream-5" {
			t.Errorf("Enter opened %v", got)
		}
		b.key("Escape")
		b.until(`document.querySelector('#detail').hidden`)
	})
	t.Run("detail", func(t *testing.T) { lookAtDetail(t, b) })
	t.Run("ladder", func(t *testing.T) {
		b.eval(`location.hash = '#stream-8'`) // refused
		b.until(`document.querySelectorAll('.ladder li').length === 2`)
		got := b.eval(`document.querySelector('.ladder ol').textContent`).(string)
		if !strings.Contains(got, "SYN") || !strings.Contains(got, "RST,ACK") {
			t.Errorf("a refused connection: %q", got)
		}
	})
	t.Run("link", func(t *testing.T) {
		b.open(path, "#stream-14")
		b.until(`!document.querySelector('#detail').hidden && document.querySelector('#detail-title').textContent.includes(':')`)
		b.eval(`location.hash = '#stream-999999'`)
		b.until(`document.querySelector('#detail').textContent.includes('not in this report')`)
	})
	t.Run("looks", func(t *testing.T) {
		light := b.eval(`getComputedStyle(document.body).backgroundColor`)
		b.media("screen", "dark")
		if got := b.eval(`getComputedStyle(document.body).backgroundColor`); got == light {
			t.Errorf("dark is %v, as light", got)
		}
		b.eval(`location.hash = ''`)
		b.shot("home-dark", true)
		b.eval(`location.hash = '#stream-0'`)
		b.shot("detail-dark", true)
		b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": true}, nil)
		b.frame()
		for _, hash := range []string{"#stream-0", ""} {
			b.eval(`location.hash = '` + hash + `'`)
			b.frame()
			if got := b.eval(`document.documentElement.scrollWidth`).(float64); got > 390 {
				t.Errorf("on a phone %q is %v pixels wide", hash, got)
			}
			b.shot("phone"+strings.TrimPrefix(hash, "#"), true)
		}
		b.media("print", "light")
		b.eval(`dispatchEvent(new Event('beforeprint'))`)
		b.shot("print", true)
		b.eval(`dispatchEvent(new Event('afterprint'))`)
	})
	b.clean()
}

// lookAtDetail opens one connection: facts, plots, zoom.
func lookAtDetail(t *testing.T, b *browser) {
	t.Helper()
	b.eval(`location.hash = '#stream-0'`)
	b.until(`document.querySelectorAll('.plot canvas').length === 4`)
	b.shot("detail-light", true)
	before := b.eval(`[...document.querySelectorAll('.plot canvas')].map(` + inked + `)`).([]any)
	for i, n := range before {
		if n.(float64) < 1500 {
			t.Errorf("plot %d has %v pixels", i, n)
		}
	}
	if got := b.eval(`document.querySelector('.sides').textContent`).(string); !strings.Contains(got, "retransmissions") {
		t.Errorf("the facts are %q", got)
	}
	rungs := b.eval(`[...document.querySelectorAll('.ladder li')].map(e => e.textContent)`).([]any)
	if len(rungs) < 20 || !strings.Contains(rungs[0].(string), "SYN") || !strings.Contains(rungs[len(rungs)-2].(string), "FIN") {
		t.Errorf("%d rungs, the first %v", len(rungs), rungs[0])
	}
	b.eval(`document.querySelector('.plots').scrollIntoView()`)
	box := b.eval(`(r => [r.left, r.top, r.width, r.height])(document.querySelector('.plot canvas').getBoundingClientRect())`).([]any)
	x, y := box[0].(float64)+box[2].(float64)*0.83, box[1].(float64)+box[3].(float64)*0.4
	picture := `document.querySelectorAll('.plot canvas')[%d].toDataURL()`
	look := func() (s []string) {
		b.frame()
		for i := range 4 {
			s = append(s, b.eval(fmt.Sprintf(picture, i)).(string))
		}
		return s
	}
	whole := look()
	changed := func(what string, do func()) {
		t.Helper()
		was := look()
		do()
		if is := look(); is[0] == was[0] {
			t.Errorf("%s changes nothing", what)
		}
	}
	for range 12 {
		b.mouse("mouseWheel", x, y, map[string]any{"deltaX": 0, "deltaY": -100})
	}
	zoomed := look()
	for i := range zoomed {
		if zoomed[i] == whole[i] {
			t.Errorf("the wheel did not zoom plot %d", i)
		}
	}
	b.mouse("mouseMoved", x, y+30, nil)
	b.frame()
	if got := b.eval(`document.querySelector('#tip').hidden ? '' : document.querySelector('#tip').innerText`).(string); !strings.Contains(got, "seq") || !strings.Contains(got, "window") {
		t.Errorf("the pointer shows %q", got)
	}
	if got := b.eval(`document.querySelectorAll('.plot output')[1].textContent`).(string); !strings.Contains(got, "bit/s") {
		t.Errorf("the readout of the throughput is %q", got)
	}
	b.shot("zoom-light", false)
	changed("the right arrow", func() {
		b.eval(`document.querySelector('.plot canvas').focus({preventScroll: true})`)
		b.key("ArrowRight")
	})
	changed("shift and drag", func() {
		b.mouse("mousePressed", x, y, map[string]any{"button": "left", "buttons": 1, "modifiers": 8, "clickCount": 1})
		b.mouse("mouseMoved", x-200, y, map[string]any{"button": "left", "buttons": 1, "modifiers": 8})
		b.mouse("mouseReleased", x-200, y, map[string]any{"button": "left", "modifiers": 8, "clickCount": 1})
	})
	changed("dragging", func() {
		b.mouse("mousePressed", x-300, y, map[string]any{"button": "left", "buttons": 1, "clickCount": 1})
		b.mouse("mouseMoved", x, y, map[string]any{"button": "left", "buttons": 1})
		b.mouse("mouseReleased", x, y, map[string]any{"button": "left", "clickCount": 1})
	})
	changed("the legend", func() { b.eval(`document.querySelector('.plot [data-series=ack]').click()`) })
	b.eval(`document.querySelector('.plot [data-series=ack]').click()`)
	changed("the other direction", func() { b.eval(`document.querySelector('.switch [aria-pressed=false]').click()`) })
	b.eval(`document.querySelector('.switch [aria-pressed=false]').click()`)
	b.mouse("mouseMoved", 5, 5, nil)
	b.eval(`document.querySelector('.plot canvas').dispatchEvent(new MouseEvent('dblclick'))`)
	b.eval(`document.querySelector('.plot canvas').dispatchEvent(new PointerEvent('pointerleave'))`)
	if got := look(); !slices.Equal(got, whole) {
		t.Error("a double click does not bring the whole back")
	}
}

func TestBrowserHostile(t *testing.T) {
	b := newBrowser(t, 1200, 900)
	w := newWorld(2)
	w.names = hostileNames
	w.showpiece(100_000)
	w.populate(120)
	name := hostileNames[0]
	path := w.collect(Options{Title: name, Version: hostileNames[1], Files: []FileInfo{{Name: name, Size: -1, Reasons: map[string]uint64{hostileNames[5]: 3}}}}).write(t)
	b.open(path, "")
	if got := b.eval(`document.title`); got != name+" · ViewTCP" {
		t.Errorf("the title is %q", got)
	}
	b.eval(`(f => { f.value = 'onerror'; f.dispatchEvent(new Event('input')); })(document.querySelector('#filter'))`)
	if got := b.column("sni")[0]; got != hostileNames[1] {
		t.Errorf("the SNI is %q", got)
	}
	for i := range len(hostileNames) {
		b.eval(fmt.Sprintf(`location.hash = '#stream-%d'`, i))
		b.until(fmt.Sprintf(`document.querySelector('#detail code') && document.querySelector('#detail code').textContent === 'tcp.stream == %d'`, i))
	}
	// A fragment is no more trusted than a name.
	b.eval(`location.hash = '#stream-<img src=x onerror=window.pwned=1>'`)
	b.frame()
	for _, tag := range []string{"img", "svg", "iframe"} {
		if n := b.eval(`document.querySelectorAll('` + tag + `').length`); n != 0.0 {
			t.Errorf("%v elements %s", n, tag)
		}
	}
	if n := b.eval(`document.querySelectorAll('script:not([type])').length`); n != 1.0 {
		t.Errorf("%v scripts", n)
	}
	b.clean()
}
