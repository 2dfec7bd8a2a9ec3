package tui

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

const (
	// heatBucket is the time that a column of the heatmap stands for, heatLen
	// how many there are, maxPorts how many ports they are kept of.
	heatBucket = int64(10e9)
	heatLen    = 180
	maxPorts   = 256
)

// portHeat is the traffic of a service port over time, bytes a bucket, and its
// new connections.
type portHeat struct {
	bytes, opened [heatLen]float32
	total         float64
}

// heat adds the traffic since the last sample to the heatmap.
func (o *overview) heat(m *Model, secs float64) {
	bucket := m.snap.Time.Boot / heatBucket
	if o.bucket == 0 {
		o.bucket, o.began = bucket, bucket
	}
	for n := min(bucket-o.bucket, heatLen); n > 0; n-- {
		at := (bucket - n + 1) % heatLen
		for port, h := range o.ports {
			h.total -= float64(h.bytes[at]) + float64(h.opened[at])
			h.bytes[at], h.opened[at] = 0, 0
			if h.total < 1 {
				delete(o.ports, port)
			}
		}
	}
	o.bucket = bucket
	at := bucket % heatLen
	for port, n := range o.newByPort {
		if h := o.port(port); h != nil {
			h.opened[at] += float32(n)
			h.total += float64(n)
		}
	}
	clear(o.newByPort)
	for _, r := range m.live.all {
		if r.rx+r.tx == 0 || r.closed != 0 {
			continue
		}
		if h := o.port(r.port); h != nil {
			v := float64(r.rx+r.tx) * secs
			h.bytes[at] += float32(v)
			h.total += v
		}
	}
}

func (o *overview) port(p uint16) *portHeat {
	h := o.ports[p]
	if h == nil && p != 0 && len(o.ports) < maxPorts {
		h = &portHeat{}
		o.ports[p] = h
	}
	return h
}

// drawHeat draws ports × time.
func (o *overview) drawHeat(c *canvas) {
	const label = 8
	width := min(c.width-label-12, heatLen)
	if width < 10 {
		return
	}
	type entry struct {
		port uint16
		h    *portHeat
	}
	var es []entry
	for p, h := range o.ports {
		es = append(es, entry{p, h})
	}
	slices.SortFunc(es, func(a, b entry) int { return cmp.Or(cmp.Compare(b.h.total, a.h.total), cmp.Compare(a.port, b.port)) })
	es = es[:min(len(es), 10)]
	top := 0.0
	for _, e := range es {
		for _, v := range e.h.bytes {
			top = max(top, float64(v))
		}
	}
	c.str(sHead, " Service ports × time")
	c.str(sDim, "  payload in 10 s, at most "+bytesText(uint64(top))+"  ")
	for i := range 5 {
		c.str(sHeat1+style(i), string(heatRunes[i]))
	}
	c.end(sNormal)
	for _, e := range es {
		c.cell(sNormal, " :"+strconv.Itoa(int(e.port)), label, false)
		sum := 0.0
		for x := range width {
			b := o.bucket - int64(width-1-x)
			if b < o.began {
				c.str(sDim, " ")
				continue
			}
			v := float64(e.h.bytes[b%heatLen])
			sum += v
			st, hot := heat(v, top)
			switch {
			case hot:
				c.str(st, string(heatRunes[st-sHeat1]))
			case e.h.opened[b%heatLen] > 0:
				c.str(sNew, "+")
			default:
				c.str(sDim, "·")
			}
		}
		c.cell(sDim, bytesText(uint64(sum)), 10, true)
		c.end(sNormal)
	}
	if len(es) == 0 {
		c.str(sDim, "   no traffic yet")
		c.end(sNormal)
		return
	}
	c.to(sNormal, label)
	c.str(sDim, timeAxis(width))
	c.end(sNormal)
}

// timeAxis is the line below the heatmap: every five minutes, up to now.
func timeAxis(width int) string {
	const every = int(5 * 60e9 / heatBucket)
	line := bytes.Repeat([]byte{' '}, width)
	copy(line[width-len("now"):], "now")
	for n := 1; width-1-n*every >= 0; n++ {
		copy(line[width-1-n*every:], "-"+strconv.Itoa(5*n)+"m")
	}
	return string(line)
}

// heatRunes tell shares apart without colors too.
var heatRunes = []rune("▁▃▅▆█")
