// The four plots of a connection.

// lines draws a path of steps through [time, value] pairs.
function steps(p, list, color, width = 1.25, dash) {
  const g = p.g;
  g.beginPath();
  let open = false, last = 0;
  for (const [t, v, slope] of list) {
    const x = p.x(t), y = p.y(v);
    if (!open) g.moveTo(x, y);
    else if (slope) g.lineTo(x, y);
    else { g.lineTo(x, last); g.lineTo(x, y); }
    open = true;
    last = y;
  }
  g.strokeStyle = palette[color];
  g.lineWidth = width;
  g.setLineDash(dash || []);
  g.stroke();
  g.setLineDash([]);
}

// Letters stand beside what they mark; where they would overlap, only the
// first is drawn.
function letters(p) {
  const last = {};
  return (text, t, v, color, below) => {
    const x = p.x(t), y = p.y(v);
    if (x < gutter - 4 || x > p.right + 4) return;
    if (last[text] && Math.hypot(last[text][0] - x, last[text][1] - y) < 9) return;
    last[text] = [x, y];
    p.g.fillStyle = palette[color];
    p.g.font = 'bold 10px system-ui, sans-serif';
    p.g.textAlign = 'center';
    p.g.textBaseline = below ? 'top' : 'bottom';
    p.g.fillText(text, Math.max(x, gutter + 4 * text.length), y + (below ? 4 : -3));
  };
}

// inSight cuts a list sorted by time to what is in view and one more each side.
function inSight(g, list) {
  const first = list.findIndex(e => e[0] >= g.lo);
  if (first < 0) return list.slice(-1).concat(list.length ? [[g.hi, list[list.length - 1][1]]] : []);
  let last = list.length;
  while (last > first && list[last - 1][0] > g.hi) last--;
  return list.slice(Math.max(0, first - 1), last + 1);
}

function extent(lists, zero) {
  let lo = zero ? 0 : Infinity, hi = -Infinity;
  for (const list of lists) for (const e of list) { if (e[1] < lo) lo = e[1]; if (e[1] > hi) hi = e[1]; }
  return hi >= lo ? [lo, hi] : [0, 1];
}

// Series of one direction, made once.
function directions(data) {
  return [0, 1].map(d => {
    const segs = data.points.filter(p => p.d === d && (p.len || p.flags & (SYN | FIN | RST)));
    const acks = [], edge = [], win = [], fly = [];
    let high = 0;
    for (const p of data.points) {
      if (p.d === d) {
        high = Math.max(high, p.seq + p.len);
        if (p.len) fly.push([p.t, p.fly]);
        continue;
      }
      if (p.flags & ACK && fly.length) fly.push([p.t + p.span, Math.max(0, Math.min(high - p.ack, fly[fly.length - 1][1]))]);
      if (p.flags & RST) continue;
      if (p.flags & ACK) for (const [list, v] of [[acks, p.ack], [edge, p.ack + p.win]]) {
        if (p.span && list.length) list.push([p.t, list[list.length - 1][1]]);
        list.push([p.t + p.span, v, p.span > 0]);
      }
      win.push([p.t, p.winMin]);
      if (p.span) win.push([p.t + p.span, p.win]);
    }
    return { segs, acks, edge, win, fly, sacks: data.sacks.filter(s => s.d !== d) };
  });
}

const verdictColor = ['a', 'red', 'orange', 'teal'];

function sequencePlot(group, state) {
  const of = () => state.dirs[state.dir];
  return new Plot(group, {
    title: 'Time–sequence', height: window.innerWidth < 600 ? 280 : 400, unit: v => trim(short(v)), extra: state.switcher,
    series: { seg: ['segments', 'a'], ack: ['ACK', 'green'], win: ['window', 'amber'], sack: ['SACK', 'violet'], retx: ['R retransmission', 'red'], ooo: ['O reordered', 'orange'], dup: ['D duplicate', 'teal'] },
    where: p => p.d === state.dir ? (p.len || p.flags & (SYN | FIN | RST) ? [p.seq, p.seq + p.len] : null) : p.flags & ACK ? [p.ack, p.ack] : null,
    range(plot) {
      const s = of(), seen = [];
      group.visible(p => seen.push([0, p.seq], [0, p.seq + p.len]), s.segs);
      const lists = [seen];
      if (plot.on.ack) lists.push(inSight(group, s.acks));
      const [lo, hi] = extent(lists);
      if (!plot.on.win) return [lo, hi];
      // A large window must not squeeze the segments into a line.
      const top = extent([inSight(group, s.edge)])[1];
      return [lo, Math.max(hi, Math.min(top, hi + (hi - lo) * 0.35))];
    },
    paint(plot) {
      const s = of(), g = plot.g, letter = letters(plot);
      if (plot.on.win) steps(plot, inSight(group, s.edge), 'amber');
      if (plot.on.ack) steps(plot, inSight(group, s.acks), 'green');
      if (plot.on.sack) {
        g.strokeStyle = palette.violet;
        g.lineWidth = 1.5;
        g.beginPath();
        group.visible(b => { const x = plot.x(b.t); g.moveTo(x, plot.y(b.left)); g.lineTo(x, plot.y(b.right)); }, s.sacks);
        g.stroke();
      }
      const perSegment = (plot.right - gutter) / Math.max(1, s.segs.length);
      for (const v of [0, 2, 3, 1]) {
        if (!plot.on[['seg', 'retx', 'ooo', 'dup'][v]]) continue;
        g.strokeStyle = g.fillStyle = palette[verdictColor[v]];
        g.lineWidth = v ? 2.25 : 1.5;
        g.beginPath();
        group.visible(p => {
          if (p.v !== v) return;
          const x = plot.x(p.t), y0 = plot.y(p.seq), y1 = Math.min(plot.y(p.seq + p.len), y0 - 2);
          g.moveTo(x, y0);
          g.lineTo(plot.x(p.t + p.span), y1);
          if (perSegment > 3 && y0 - y1 > 7) { g.moveTo(x - 2.5, y0); g.lineTo(x + 2.5, y0); g.moveTo(x - 2.5, y1); g.lineTo(x + 2.5, y1); }
        }, s.segs);
        g.stroke();
        if (v) group.visible(p => { if (p.v === v) letter(' ROD'[[0, 1, 2, 3][v]], p.t, p.seq + p.len, verdictColor[v]); }, s.segs);
      }
      group.visible(p => {
        if (p.flags & SYN) letter('SYN', p.t, p.seq, 'fg');
        if (p.flags & FIN) letter('FIN', p.t, p.seq + p.len, 'fg');
        if (p.flags & RST) letter('RST', p.t, p.seq + p.len, 'red');
      }, s.segs);
      group.visible(p => {
        if (p.d === state.dir) return;
        if (p.ana & 64 && plot.on.ack) { g.fillStyle = palette.green; g.fillRect(plot.x(p.t) - 0.75, plot.y(p.ack) - 4, 1.5, 4); }
        if (p.ana & 128) letter('Z', p.t, p.ack, 'amber', true);
        if (p.flags & RST) letter('RST', p.t, p.ack, 'red', true);
      });
    },
  });
}

function throughputPlot(group, state) {
  let series = null, width = 0;
  // Buckets of the whole connection, or of the view when there would be too many.
  const compute = () => {
    width = state.bucket || ticks(0, group.hi - group.lo, 150)[1];
    width = Math.max(width, (group.hi - group.lo) / 4000);
    const from = Math.floor(group.lo / width) * width, n = Math.ceil((group.hi - from) / width) + 1;
    const sums = [new Float64Array(n), new Float64Array(n), new Float64Array(n)];
    const put = (k, p) => {
      const a = (p.t - from) / width, b = (p.t + p.span - from) / width;
      if (b - a < 1e-9) { const i = Math.floor(a); if (i >= 0 && i < n) sums[k][i] += p.len; return; }
      for (let i = Math.max(0, Math.floor(a)); i < Math.min(n, b); i++) sums[k][i] += p.len * (Math.min(i + 1, b) - Math.max(i, a)) / (b - a);
    };
    for (const p of group.points) {
      if (!p.len) continue;
      put(p.d, p);
      if (p.v === 1) put(2, p);
    }
    series = sums.map(s => Array.from(s, (v, i) => [from + i * width, v / width * 1e9]));
  };
  return new Plot(group, {
    title: 'Throughput', height: 170, unit: v => trim(bits(v)), extra: state.buckets,
    series: { a: [state.arrows[0], 'a'], b: [state.arrows[1], 'b'], r: ['retransmitted', 'red'] },
    range(plot) { compute(); return [0, extent(series.filter((_, i) => plot.on['abr'[i]]), true)[1]]; },
    paint(plot) {
      const g = plot.g;
      series.forEach((s, i) => {
        if (!plot.on['abr'[i]] || !s.some(e => e[1])) return;
        if (i === 2) {
          g.fillStyle = palette.red;
          for (const [t, v] of s) if (v) g.fillRect(plot.x(t), Math.min(plot.y(v), plot.bottom - 2), Math.max(1.5, plot.x(t + width) - plot.x(t)), plot.bottom);
          return;
        }
        steps(plot, s, 'ab'[i]);
        g.lineTo(plot.right + 20, plot.bottom + 2);
        g.lineTo(gutter - 20, plot.bottom + 2);
        g.globalAlpha = 0.12;
        g.fillStyle = palette['ab'[i]];
        g.fill();
        g.globalAlpha = 1;
      });
    },
    read(plot, t) {
      const i = series && Math.floor((t - series[0][0][0]) / width);
      return series && series[0][i] ? '→ ' + bits(series[0][i][1]) + '  ← ' + bits(series[1][i][1]) + ' in ' + duration(width / 1e3) : '';
    },
  });
}

function rttPlot(group, state) {
  const list = group.points.filter(p => p.rtt), sorted = list.map(p => p.rtt).sort((a, b) => a - b);
  // A few long ones must not press the others onto the axis.
  const spread = sorted.length && sorted[sorted.length - 1] > 20 * sorted[sorted.length >> 1];
  return new Plot(group, {
    title: 'Round-trip time', height: 160, unit: v => trim(duration(Math.round(v))),
    // An ACK measures the path of the data that it acknowledges.
    series: { a: [state.arrows[0], 'a'], b: [state.arrows[1], 'b'], log: ['logarithmic', 'dim', !spread] },
    where: p => p.rtt ? [p.rttMin, p.rtt] : null,
    range(plot) {
      let lo = Infinity, hi = 0;
      group.visible(p => { if (plot.on['ba'[p.d]]) { lo = Math.min(lo, p.rttMin); hi = Math.max(hi, p.rtt); } }, list);
      return plot.on.log && hi ? [lo * 0.8, Math.max(hi, lo * 10) * 1.1] : [plot.on.log ? 1 : 0, hi || 1000];
    },
    paint(plot) {
      const g = plot.g;
      group.visible(p => {
        if (!plot.on['ba'[p.d]]) return;
        g.fillStyle = palette['ba'[p.d]];
        const x = plot.x(p.t + p.span), y = plot.y(p.rtt), y0 = plot.y(p.rttMin);
        if (y0 - y > 3) { g.globalAlpha = 0.35; g.fillRect(x - 0.75, y, 1.5, y0 - y); g.globalAlpha = 1; }
        g.beginPath();
        g.arc(x, y, list.length > 1500 ? 1.5 : 2.25, 0, 7);
        g.fill();
      }, list);
    },
    read(plot, t) {
      let best = null;
      for (const p of list) if (!best || Math.abs(p.t - t) < Math.abs(best.t - t)) best = p;
      return best ? duration(best.rtt) + ' at ' + (best.t / 1e9).toFixed(6) + ' s' : '';
    },
  });
}

function flightPlot(group, state) {
  const of = () => state.dirs[state.dir];
  const before = (list, t) => { let v = null; for (const e of list) { if (e[0] > t) break; v = e[1]; } return v; };
  return new Plot(group, {
    title: 'In flight and window', height: 180, unit: v => trim(short(v)) + 'B',
    series: { fly: ['bytes in flight', 'a'], win: ['receiver’s window', 'amber'], zero: ['Z zero window', 'red'] },
    range(plot) {
      const s = of(), fly = inSight(group, s.fly), hi = extent([fly], true)[1], win = extent([inSight(group, s.win)], true)[1];
      return [0, plot.on.win ? (plot.on.fly && hi > 0 ? Math.max(hi, Math.min(win, hi * 6)) : win) : hi];
    },
    paint(plot) {
      const s = of(), letter = letters(plot);
      if (plot.on.win) steps(plot, inSight(group, s.win), 'amber');
      if (plot.on.fly) steps(plot, inSight(group, s.fly), 'a');
      if (plot.on.zero) group.visible(p => { if (p.d !== state.dir && p.ana & 128) letter('Z', p.t, 0, 'red'); });
    },
    read(plot, t) {
      const s = of(), fly = before(s.fly, t), win = before(s.win, t);
      return (fly == null ? '' : bytes(fly) + ' in flight') + (win == null ? '' : '  window ' + bytes(win));
    },
  });
}
