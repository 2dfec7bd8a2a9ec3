// Plots that share one axis of time: zooming, panning, the crosshair.
const gutter = 66;

// A Group holds the view, in nanoseconds after the first packet.
class Group {
  constructor(points, max) {
    this.points = points;
    this.max = Math.max(max, 1000);
    this.plots = [];
    this.at = null;
    this.reset();
  }

  reset() { this.show(-this.max * 0.01, this.max * 1.02); }

  show(lo, hi) {
    const least = 1000, full = [-this.max * 0.01, this.max * 1.02];
    const width = Math.max(least, Math.min(hi - lo, full[1] - full[0]));
    if (hi - lo < least) lo = (lo + hi - least) / 2;
    this.lo = Math.max(full[0], Math.min(lo, full[1] - width));
    this.hi = this.lo + width;
    this.draw();
  }

  get whole() { return this.hi - this.lo >= this.max * 1.0299; }
  zoom(factor, at) { this.show(at - (at - this.lo) * factor, at + (this.hi - at) * factor); }
  pan(part) { const d = (this.hi - this.lo) * part; this.show(this.lo + d, this.hi + d); }

  // draw waits for the next frame, so that a burst of events draws once.
  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.drawNow(); });
  }

  drawNow() { for (const p of this.plots) p.draw(); }

  // visible calls f for the points in sight, and for their neighbours outside
  // if asked to, so that lines reach the edges.
  visible(f, list = this.points) {
    for (const p of list) if (p.t + (p.span || 0) >= this.lo && p.t <= this.hi) f(p);
  }

  nearest(t) {
    const ps = this.points;
    let lo = 0, hi = ps.length - 1;
    while (lo < hi) {
      const mid = lo + hi >> 1;
      if (ps[mid].t < t) lo = mid + 1; else hi = mid;
    }
    return lo > 0 && t - ps[lo - 1].t < Math.abs(ps[lo].t - t) ? lo - 1 : lo;
  }
}

class Plot {
  // o: title, height, unit(v), series {key: [name, colour, on]}, range(plot) →
  // [lo, hi], paint(plot), read(plot, t) → text.
  constructor(group, o) {
    Object.assign(this, o);
    this.group = group;
    group.plots.push(this);
    this.on = {};
    this.canvas = el('canvas', { tabindex: 0, role: 'img', 'aria-label': o.title + '; plus, minus and arrows zoom and move, comma and full stop go from packet to packet' });
    this.out = el('output', {});
    this.legend = el('span', { class: 'legend' }, ...Object.entries(o.series).map(([key, [name, color, off]]) => {
      this.on[key] = !off;
      const b = el('button', { type: 'button', 'aria-pressed': String(!off), 'data-series': key, onclick: () => {
        this.on[key] = !this.on[key];
        b.setAttribute('aria-pressed', String(this.on[key]));
        group.draw();
      } }, legendKey(color, name));
      return b;
    }));
    this.el = el('figure', { class: 'plot' }, el('figcaption', {}, el('b', {}, o.title), o.extra, this.legend, this.out), this.canvas);
    this.listen();
  }

  listen() {
    const c = this.canvas, g = this.group, pointers = new Map();
    let drag = null, pinch = null;
    const time = e => this.t(e.clientX - c.getBoundingClientRect().left);
    c.addEventListener('wheel', e => {
      if (Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey) g.pan((e.deltaX || e.deltaY) / 1000);
      else if (e.deltaY > 0 && g.whole) return; // let the page scroll on
      else g.zoom(Math.exp(Math.max(-1, Math.min(1, e.deltaY / 300))), time(e));
      e.preventDefault();
    }, { passive: false });
    c.addEventListener('pointerdown', e => {
      if (e.button > 1) return;
      pointers.set(e.pointerId, e.clientX);
      c.setPointerCapture(e.pointerId);
      if (pointers.size === 2) { pinch = [...pointers.values()]; drag = null; return; }
      drag = { x: e.clientX, from: time(e), lo: g.lo, hi: g.hi, pan: e.shiftKey || e.button === 1 || e.pointerType === 'touch' };
    });
    c.addEventListener('pointermove', e => {
      if (pointers.has(e.pointerId)) pointers.set(e.pointerId, e.clientX);
      if (pinch && pointers.size === 2) {
        const now = [...pointers.values()], was = Math.abs(pinch[0] - pinch[1]) || 1;
        g.zoom(was / Math.max(1, Math.abs(now[0] - now[1])), this.t((now[0] + now[1]) / 2 - c.getBoundingClientRect().left));
        pinch = now;
        return;
      }
      if (drag && drag.pan) {
        const d = (drag.x - e.clientX) / (this.right - gutter) * (drag.hi - drag.lo);
        g.show(drag.lo + d, drag.hi + d);
      } else if (drag && Math.abs(e.clientX - drag.x) > 4) g.select = [drag.from, time(e)].sort((a, b) => a - b);
      g.at = time(e);
      this.point(e);
      g.draw();
    });
    const up = e => {
      pointers.delete(e.pointerId);
      if (pointers.size < 2) pinch = null;
      if (g.select && e.type === 'pointerup') g.show(...g.select);
      g.select = drag = null;
      g.draw();
    };
    c.addEventListener('pointerup', up);
    c.addEventListener('pointercancel', up);
    c.addEventListener('pointerleave', () => { g.at = g.mark = null; hideTip(); g.draw(); });
    c.addEventListener('dblclick', () => g.reset());
    c.addEventListener('keydown', e => {
      const mid = g.at ?? (g.lo + g.hi) / 2, step = e.key === '.' ? 1 : -1;
      switch (e.key) {
        case 'ArrowLeft': g.pan(-0.1); break;
        case 'ArrowRight': g.pan(0.1); break;
        case '+': case '=': g.zoom(0.7, mid); break;
        case '-': g.zoom(1 / 0.7, mid); break;
        case '0': case 'Home': g.reset(); break;
        case '.': case ',': {
          const i = g.mark ? g.points.indexOf(g.mark) + step : g.nearest(mid), p = g.points[i];
          if (!p) break;
          g.at = p.t;
          g.mark = p;
          if (p.t < g.lo || p.t > g.hi) g.show(p.t - (g.hi - g.lo) / 2, p.t + (g.hi - g.lo) / 2);
          const r = c.getBoundingClientRect();
          showTip(r.left + this.x(p.t), r.top + 10, ...g.describe(p));
          break;
        }
        default: return;
      }
      e.preventDefault();
      g.draw();
    });
  }

  // point finds the packet under the pointer: near it on this plot, or else the
  // nearest in time.
  point(e) {
    const g = this.group, r = this.canvas.getBoundingClientRect(), px = e.clientX - r.left, py = e.clientY - r.top;
    if (px < gutter || !g.points.length) { g.mark = null; hideTip(); return; }
    let best = null, least = 24 ** 2;
    if (this.where) g.visible(p => {
      const y = this.where(p);
      if (y == null) return;
      const dx = Math.max(this.x(p.t) - px, px - this.x(p.t + p.span), 0), dy = Math.max(this.y(y[1]) - py, py - this.y(y[0]), 0), d = dx * dx + dy * dy;
      if (d < least) { least = d; best = p; }
    });
    g.mark = best || g.points[g.nearest(this.t(px))];
    showTip(e.clientX, e.clientY, ...g.describe(g.mark));
  }

  x(t) { return gutter + (this.right - gutter) * (t - this.group.lo) / (this.group.hi - this.group.lo); }
  t(x) { return this.group.lo + (x - gutter) / ((this.right || gutter + 1) - gutter) * (this.group.hi - this.group.lo); }
  y(v) {
    const part = this.on.log ? Math.log(Math.max(v, this.low) / this.low) / Math.log(this.high / this.low) : (v - this.low) / (this.high - this.low);
    return this.bottom - (this.bottom - 8) * part;
  }

  // marks of the axis of values: decades on a logarithmic one.
  marks() {
    if (!this.on.log) return ticks(this.low, this.high, Math.max(2, this.height / 45))[0];
    const out = [];
    for (let v = 10 ** Math.ceil(Math.log10(this.low)); v <= this.high; v *= 10) out.push(v);
    return out.length > 1 ? out : [this.low, ...out, this.high];
  }

  draw() {
    const g0 = this.group, [g, w, h] = fit(this.canvas, this.height);
    this.g = g;
    this.right = w - 8;
    this.bottom = h - 20;
    [this.low, this.high] = this.range(this);
    if (!(this.high > this.low)) this.high = this.low + 1;
    const pad = (this.high - this.low) * 0.04;
    if (this.low !== 0 && !this.on.log) this.low -= pad;
    this.high += pad;
    g.textBaseline = 'middle';
    g.textAlign = 'right';
    for (const v of this.marks()) {
      const y = Math.round(this.y(v));
      g.fillStyle = palette.faint;
      g.fillRect(gutter, y, this.right - gutter, 1);
      g.fillStyle = palette.dim;
      g.fillText(this.unit(v), gutter - 6, y);
    }
    const [xs, step] = ticks(g0.lo, g0.hi, Math.max(2, w / 120));
    g.textAlign = 'center';
    g.textBaseline = 'top';
    for (const v of xs) {
      const x = Math.round(this.x(v));
      g.fillStyle = palette.faint;
      g.fillRect(x, 8, 1, this.bottom - 8);
      g.fillStyle = palette.dim;
      if (x < this.right - 18) g.fillText(seconds(v, step), Math.max(x, gutter + 10), this.bottom + 5);
    }
    g.save();
    g.beginPath();
    g.rect(gutter, 8, this.right - gutter + 1, this.bottom - 7);
    g.clip();
    this.paint(this);
    if (g0.select) {
      g.globalAlpha = 0.18;
      g.fillStyle = palette.accent;
      g.fillRect(this.x(g0.select[0]), 8, this.x(g0.select[1]) - this.x(g0.select[0]), this.bottom - 8);
      g.globalAlpha = 1;
    }
    if (g0.at != null) {
      g.fillStyle = palette.dim;
      g.fillRect(Math.round(this.x(g0.at)), 8, 1, this.bottom - 8);
      const y = g0.mark && this.where && this.where(g0.mark);
      if (y) {
        g.strokeStyle = palette.accent;
        g.lineWidth = 1.5;
        g.strokeRect(this.x(g0.mark.t) - 4, this.y(y[1]) - 4, this.x(g0.mark.t + g0.mark.span) - this.x(g0.mark.t) + 8, this.y(y[0]) - this.y(y[1]) + 8);
      }
    }
    g.restore();
    g.strokeStyle = palette.line;
    g.lineWidth = 1;
    g.strokeRect(gutter + 0.5, 8.5, this.right - gutter, this.bottom - 8);
    this.out.textContent = g0.at != null && this.read ? this.read(this, g0.at) : '';
  }
}
