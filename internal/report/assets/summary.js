// The overview: header, tiles, findings, charts.
const link = (stream, ...kids) => rowOf.has(stream) ? el('a', { href: '#stream-' + stream }, ...kids) : el('span', {}, ...kids);

function drawHeader() {
  $('title').textContent = D.title;
  document.title = D.title + ' · ViewTCP';
  const span = timeSpan();
  const parts = [];
  if (span[1] > span[0] || D.packets) parts.push(stamp(span[0]) + ' – ' + (clock(span[0])[0] === clock(span[1])[0] ? clock(span[1])[1] : stamp(span[1])) + ' UTC', duration((span[1] - span[0]) / 1e3));
  parts.push(plural(D.conns, 'connection'), plural(D.packets, 'TCP packet'));
  $('subtitle').textContent = parts.join(' · ');
  $('colophon').textContent = 'Made by ViewTCP' + (D.version ? ' ' + D.version : '') + '. The page is complete in itself and loads nothing. Times are UTC.';
  const details = $('files');
  if (!D.files.length) { details.hidden = true; return; }
  details.querySelector('summary').textContent = plural(D.files.length, 'file') + ': ' + plural(D.files.reduce((n, f) => n + f.packets, 0), 'packet');
  const head = el('tr', {}, ...['File', 'Size', 'Packets', 'First', 'Last', 'Not analysed'].map(t => el('th', { scope: 'col' }, t)));
  details.querySelector('table').append(el('thead', {}, head), el('tbody', {}, ...D.files.map(f => el('tr', {},
    el('td', {}, f.name), el('td', { class: 'n' }, f.size < 0 ? '' : bytes(f.size)), el('td', { class: 'n' }, int(f.packets)),
    el('td', {}, f.first == null ? '' : stamp(f.first)), el('td', {}, f.last == null ? '' : stamp(f.last)),
    el('td', {}, f.reasons.map(([n, c]) => n + ' ' + int(c)).join(', '))))));
}

function timeSpan() {
  const t = D.timeline;
  let lo = t.bins.length ? t.from : Infinity, hi = t.bins.length ? t.from + t.bins.length * t.width : -Infinity;
  const known = D.files.filter(f => f.first != null);
  if (known.length) {
    lo = Math.min(...known.map(f => f.first));
    hi = Math.max(...known.map(f => f.last));
  }
  return lo <= hi ? [lo, hi] : [0, 0];
}

function drawTiles() {
  const tile = (label, main, sub, cls) => $('tiles').append(el('div', { class: 'tile' + (cls ? ' ' + cls : '') },
    el('span', { class: 'label' }, label), el('strong', {}, main), el('span', { class: 'sub' }, sub)));
  const states = D.states.slice(0, 2).map(([n, c]) => int(c) + ' ' + (n || 'unknown').toLowerCase()).join(', ');
  tile('Connections', int(D.conns), states + (D.states.length > 2 ? ', …' : ''));
  tile('Payload', bytes(D.payload), D.wireBytes ? bytes(D.wireBytes) + ' on the wire' : '');
  const s = timeSpan(), secs = (s[1] - s[0]) / 1e9;
  tile('Mean rate', secs > 0 ? bits((D.wireBytes || D.payload) / secs) : '–', secs > 0 ? short(D.packets / secs).trim() + ' packets/s' : '');
  const rate = D.packets ? D.retransmissions / D.packets : 0;
  tile('Retransmissions', share(D.retransmissions, D.packets), plural(D.retransmissions, 'packet'), rate > 0.01 ? 'bad' : rate > 0.001 ? 'warn' : '');
  tile('Resets', int(D.resets[0] + D.resets[1]), int(D.resets[0]) + ' from the local, ' + int(D.resets[1]) + ' from the remote end', D.resetConns > D.conns / 20 ? 'warn' : '');
  const un = D.findings.find(f => f.kind === 'unanswered');
  tile('Unanswered', int(un.total), un.total ? plural(un.sum, 'SYN') + ' without any answer' : 'every SYN had an answer', un.total ? 'warn' : '');
  const slow = D.findings.find(f => f.kind === 'slow_handshakes');
  if (slow.total) tile('Slowest handshake', duration(slow.worst[0][1]), link(slow.worst[0][0], 'stream ' + slow.worst[0][0]));
}

const findingTexts = {
  retransmissions: ['Retransmissions', v => int(v), 'Segments that were sent again: loss, or timers that fired early.', 'red'],
  zero_windows: ['Zero windows', v => int(v), 'The receiver’s buffer was full: its application reads too slowly.', 'amber'],
  unanswered: ['Unanswered SYNs', v => plural(v, 'SYN'), 'Nothing came back: a filter, a host that is down, or a capture of one direction.', 'violet'],
  resets: ['Resets', v => plural(v, 'RST'), 'Connections that an end broke off or refused.', 'orange'],
  slow_handshakes: ['Slow handshakes', v => duration(v), 'Long from SYN to the end of the handshake: distance, or a busy server.', 'teal'],
  lost_segments: ['Gaps', v => plural(v, 'gap'), 'Sequence numbers that were jumped over: lost on the way here, or not captured.', 'b'],
};

function drawFindings() {
  const box = $('findings');
  for (const f of D.findings) {
    if (!f.total || f.kind === 'slow_handshakes' && f.worst[0][1] < 2e5) continue;
    const [title, format, why, color] = findingTexts[f.kind];
    const card = el('div', { class: 'card finding' }, el('h3', {}, title, el('span', {}, f.kind === 'slow_handshakes' ? 'the slowest' : 'in ' + plural(f.total, 'connection'))),
      el('p', {}, why), el('ol', {}, ...f.worst.slice(0, 5).map(([s, v]) => {
        const r = rowOf.get(s), name = r ? ends(r).join(' → ') : 'stream ' + s;
        return el('li', {}, link(s, el('span', { class: 'who' }, r && !localOpened(r) ? ends(r).reverse().join(' → ') : name)), el('b', {}, format(v)));
      })));
    card.style.setProperty('--mark', 'var(--' + color + ')');
    box.append(card);
  }
  if (!box.children.length) box.append(el('p', { class: 'note' }, 'Nothing: no loss, no full windows, no resets, every SYN answered.'));
}

function drawBars(id, items, title) {
  const max = Math.max(1, ...items.map(i => i[1])), box = $(id);
  for (const [name, n, text, hint, query] of items) {
    const fill = el('i');
    fill.style.width = Math.max(0.5, 100 * n / max) + '%';
    box.append(el(query ? 'button' : 'div', { class: 'barline', title: hint, type: query && 'button', onclick: query && (() => table.search(query)) },
      el('span', { class: 'name' }, name), el('span', { class: 'track' }, fill), el('span', { class: 'n' }, text)));
  }
  if (!items.length) box.append(el('p', { class: 'note' }, title));
}

function drawLists() {
  const hint = (c, b, p) => plural(c, 'connection') + ', ' + bytes(b) + ', ' + plural(p, 'packet');
  drawBars('hosts', D.hosts.map(([h, c, b, p]) => [h, b, bytes(b), hint(c, b, p) + (D.hostsLost ? ' (at least)' : ''), h]), 'No hosts.');
  drawBars('ports', D.ports.map(([h, c, b, p]) => [String(h), b, bytes(b), hint(c, b, p), ':' + h]), 'No ports.');
  const what = D.connStates.length ? D.connStates : D.reasons;
  const names = { SF: 'normal', S0: 'no answer', S1: 'open', S2: 'half-closed by initiator', S3: 'half-closed by responder', REJ: 'refused', RSTO: 'reset by initiator', RSTR: 'reset by responder', RSTOS0: 'SYN, then RST', RSTRH: 'SYN-ACK, then RST', SH: 'SYN, then FIN', SHR: 'SYN-ACK, then FIN', OTH: 'seen from the middle' };
  drawBars('ends', what.slice(0, 10).map(([n, c]) => [names[n] ? n + ' ' + names[n] : n, c, int(c), names[n] || n, (D.connStates.length ? 'conn_state=' : 'close_reason=') + n]), 'Nothing is known of it.');
}

// The traffic chart: throughput as an area, new connections as bars below.
const traffic = {
  box: null,
  draw() {
    const canvas = $('traffic'), [g, w, h] = fit(canvas, 190), t = D.timeline;
    if (!t.bins.length) return;
    const left = 64, right = w - 8, top = 8, mid = h - 62, low = h - 20, secs = t.width / 1e9;
    const x = i => left + (right - left) * i / t.bins.length;
    const rate = t.bins.map(b => b[1] / secs), most = Math.max(...rate, 1e-9), opened = Math.max(1, ...t.bins.map(b => b[3]));
    const y = v => mid - (mid - top) * v / most;
    g.textAlign = 'right';
    g.textBaseline = 'middle';
    const [ys] = ticks(0, most * 8, 4);
    for (const v of ys) {
      g.fillStyle = palette.faint;
      g.fillRect(left, Math.round(y(v / 8)), right - left, 1);
      g.fillStyle = palette.dim;
      g.fillText(trim(bits(v / 8)), left - 6, y(v / 8));
    }
    g.fillText(int(opened) + ' new', left - 6, mid + 14);
    g.beginPath();
    g.moveTo(left, mid);
    rate.forEach((v, i) => { g.lineTo(x(i), y(v)); g.lineTo(x(i + 1), y(v)); });
    g.lineTo(right, mid);
    g.globalAlpha = 0.25;
    g.fillStyle = palette.a;
    g.fill();
    g.globalAlpha = 1;
    g.strokeStyle = palette.a;
    g.lineWidth = 1.25;
    g.stroke();
    const bw = Math.max(1, x(1) - x(0) - (x(1) - x(0) > 4 ? 1 : 0));
    t.bins.forEach((b, i) => {
      if (b[3]) {
        const bh = Math.max(1, (low - mid - 8) * b[3] / opened);
        g.fillStyle = palette.dim;
        g.fillRect(x(i), low - bh, bw, bh);
      }
      if (b[2]) {
        g.globalAlpha = Math.min(1, 0.15 + 20 * b[2] / b[0]);
        g.fillStyle = palette.red;
        g.fillRect(x(i), mid + 1, Math.max(2, bw), 4);
        g.globalAlpha = 1;
      }
    });
    g.fillStyle = palette.dim;
    g.textBaseline = 'top';
    const [xs, step] = ticks(0, t.bins.length * t.width, Math.max(2, w / 110));
    g.textAlign = 'center';
    for (const v of xs) {
      const at = left + (right - left) * v / (t.bins.length * t.width);
      if (at < right - 20) g.fillText(seconds(v, step), Math.max(at, left + 8), low + 5);
    }
    canvas.setAttribute('aria-label', 'Throughput over time, at most ' + bits(most) + '; new connections below');
    this.box = { left, right };
  },
  hover(e) {
    const t = D.timeline, b = this.box, r = e.currentTarget.getBoundingClientRect();
    const i = b ? Math.floor((e.clientX - r.left - b.left) / (b.right - b.left) * t.bins.length) : -1, bin = t.bins[i];
    if (!bin) return hideTip();
    const secs = t.width / 1e9;
    showTip(e.clientX, e.clientY, el('b', {}, clock(t.from + i * t.width, 3).join(' ')), el('br'), bits(bin[1] / secs) + ', ' + short(bin[0] / secs).trim() + ' packets/s', el('br'),
      plural(bin[3], 'new connection') + ', ' + plural(bin[2], 'retransmission'), el('br'), 'in ' + duration(t.width / 1e3));
  },
};

// The distribution of round-trip times, on a logarithmic axis.
const rtts = {
  box: null,
  draw() {
    const canvas = $('rtts'), [g, w, h] = fit(canvas, 190);
    const series = [[D.acks, 'a'], [D.handshakes, 'b']].filter(s => s[0].length);
    if (!series.length) {
      g.fillStyle = palette.dim;
      g.fillText('No round trip was seen whole.', 8, 20);
      return;
    }
    const all = series.flatMap(s => s[0].map(b => b[0]));
    const lo = Math.min(...all) - 1, hi = Math.max(...all) + 2, left = 40, right = w - 8, top = 8, low = h - 20;
    const x = i => left + (right - left) * (i - lo) / (hi - lo);
    const parts = series.map(([bins]) => { const sum = bins.reduce((n, b) => n + b[1], 0); return bins.map(b => [b[0], b[1] / sum]); });
    const most = Math.max(...parts.flat().map(b => b[1])), y = v => low - (low - top) * v / most;
    g.textAlign = 'right';
    g.textBaseline = 'middle';
    for (const v of ticks(0, most * 100, 4)[0]) {
      g.fillStyle = palette.faint;
      g.fillRect(left, Math.round(y(v / 100)), right - left, 1);
      g.fillStyle = palette.dim;
      g.fillText(Number(v.toFixed(1)) + ' %', left - 6, y(v / 100));
    }
    const bw = (x(1) - x(0));
    parts.forEach((bins, s) => {
      const color = palette[series[s][1]], width = Math.max(1, bw / series.length - 0.5);
      g.fillStyle = color;
      for (const [i, v] of bins) g.fillRect(x(i) + s * bw / series.length, y(v), width, Math.max(1, low - y(v)));
    });
    g.fillStyle = palette.dim;
    g.textAlign = 'center';
    g.textBaseline = 'top';
    let last = -99;
    for (let p = 0; p < 10; p++) for (const m of hi - lo > 48 ? [1] : [1, 2, 5]) {
      const us = m * 10 ** p, at = x(4 * Math.log2(us));
      if (at >= left && at < right - 14 && at - last > 46) { g.fillText(trim(duration(us)), at, low + 5); last = at; }
    }
    canvas.setAttribute('aria-label', 'Distribution of round-trip times');
    this.box = { left, right, lo, hi };
  },
  hover(e) {
    const b = this.box, r = e.currentTarget.getBoundingClientRect();
    if (!b) return;
    const i = Math.floor(b.lo + (e.clientX - r.left - b.left) / (b.right - b.left) * (b.hi - b.lo));
    const from = j => 2 ** (j >> 2) * (1 + (j & 3) / 4), n = bins => (bins.find(x => x[0] === i) || [0, 0])[1];
    if (i < 0 || !n(D.acks) && !n(D.handshakes)) return hideTip();
    showTip(e.clientX, e.clientY, el('b', {}, duration(from(i)) + ' – ' + duration(from(i + 1))), el('br'), plural(n(D.acks), 'acknowledgement'), el('br'), plural(n(D.handshakes), 'handshake'));
  },
};

function drawOverview() {
  drawHeader();
  drawTiles();
  drawFindings();
  drawLists();
  $('traffic-legend').append(legendKey('a', 'payload'), legendKey('red', 'retransmissions'), legendKey('dim', 'new connections'), D.captured > D.packets ? 'of the whole capture, filtered or not' : '');
  $('rtt-legend').append(legendKey('a', 'data to ACK'), legendKey('b', 'handshake'));
  for (const c of [['traffic', traffic], ['rtts', rtts]]) {
    $(c[0]).addEventListener('pointermove', e => c[1].hover(e));
    $(c[0]).addEventListener('pointerleave', hideTip);
  }
}
