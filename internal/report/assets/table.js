// The table of connections: it sorts, filters, and makes elements only for the
// rows in sight.
const rowHeight = 28;

class Table {
  constructor(box) {
    this.box = box;
    this.sortBy = null;
    this.down = true;
    this.rows = D.rows;
    this.at = 0;
    this.pool = [];
    this.keys = new Map();
    const two = n => ({ name: n, column: n.toUpperCase(), kind: 'end', doc: 'Address and port of the ' + n + ' end.', shown: 1,
      get: r => end(value(r, n + '_ip'), value(r, n + '_port')) });
    const list = [{ name: 'stream', column: 'STREAM', kind: 'count', doc: 'Number of the connection, as tcp.stream in Wireshark.', shown: 1, get: r => r[0] },
      { name: 'resent', column: 'RESENT', kind: 'count', group: 'packets', doc: 'Segments that ViewTCP judges sent again: neither overtaken nor copied on the way.', shown: 1, get: r => r[1] }];
    for (const f of fields) {
      const side = /^(local|remote)_(ip|port)$/.exec(f.name);
      if (side && side[2] === 'ip') list.push(two(side[1]));
      list.push({ ...f, shown: side ? 0 : f.shown, get: r => r[f.at] });
    }
    // The order that reads best comes first; the registry's follows.
    const first = ['stream', 'opened', 'local', 'remote', 'state', 'conn_state', 'duration_us', 'packets_sent', 'packets_received', 'bytes_sent', 'bytes_received', 'resent'];
    const rank = f => (first.indexOf(f.name) + 1) || (f.shown && /rtt/.test(f.name) ? 90 : f.group === 'packets' && f.shown ? 91 : 99);
    this.all = list.sort((a, b) => rank(a) - rank(b));
    this.names = new Map(this.all.map(f => [f.name, f]));
    for (const f of this.all) for (const short of [f.name.replace(/_us$/, ''), f.column.toLowerCase()]) if (!this.names.has(short)) this.names.set(short, f);
    this.head = el('div', { class: 'vhead', role: 'row', 'aria-rowindex': 1 });
    this.body = el('div', { class: 'vbody', role: 'rowgroup' });
    box.append(el('div', { class: 'vinner' }, this.head, this.body));
    this.inner = box.firstChild;
    box.addEventListener('scroll', () => this.render(), { passive: true });
    box.addEventListener('keydown', e => this.key(e));
    this.body.addEventListener('click', e => {
      const row = e.target.closest('.vrow');
      if (row && row.row && !String(getSelection())) { this.at = row.index; location.hash = 'stream-' + row.row[0]; }
    });
    this.picker();
    $('filter').addEventListener('input', () => this.filter($('filter').value));
    this.columns();
    this.filter('');
  }

  picker() {
    const pop = el('div'), groups = new Map();
    $('columns').querySelector('.pop').append(pop);
    for (const f of this.all) {
      const g = f.group || 'ends';
      if (!groups.has(g)) groups.set(g, []);
      groups.get(g).push(f);
    }
    for (const [g, list] of groups) pop.append(el('fieldset', {}, el('legend', {}, g), ...list.map(f => {
      const box = el('input', { type: 'checkbox', value: f.name, onchange: e => { f.shown = e.target.checked; this.columns(); this.render(true); } });
      box.checked = !!f.shown;
      return el('label', { title: f.doc }, box, f.name);
    })));
    document.addEventListener('click', e => { if (!$('columns').contains(e.target)) $('columns').open = false; });
  }

  text(f, r) {
    const v = f.get(r);
    if (f.kind === 'time' && v != null) { const [day, time] = clock(v); return this.days ? day.slice(5) + ' ' + time : time; }
    return show(f, v);
  }

  // columns decides what is shown; paper has room for a few only.
  columns(most = Infinity) {
    const span = timeSpan();
    this.days = clock(span[0])[0] !== clock(span[1])[0];
    this.shown = this.all.filter(f => f.shown).slice(0, most);
    const step = Math.max(1, Math.floor(D.rows.length / 400));
    const widths = this.shown.map(f => {
      let n = f.column.length * 1.1 + 2;
      for (let i = 0; i < D.rows.length; i += step) n = Math.max(n, this.text(f, D.rows[i]).length);
      return 'calc(' + Math.min(n, f.kind === 'string' ? 28 : 47) + 'ch + 18px)';
    });
    this.inner.style.setProperty('--cols', widths.join(' '));
    this.box.setAttribute('aria-colcount', this.shown.length);
    this.head.replaceChildren(...this.shown.map(f => {
      const on = this.sortBy === f;
      return el('div', { role: 'columnheader', class: isNumber(f) ? 'n' : '', 'aria-sort': on ? (this.down ? 'descending' : 'ascending') : 'none' },
        el('button', { type: 'button', title: f.name + ': ' + f.doc, 'data-field': f.name, onclick: () => this.sort(f) }, f.column, el('span', { 'aria-hidden': 'true' }, on ? (this.down ? ' ▾' : ' ▴') : '')));
    }));
    this.pool = [];
    this.body.replaceChildren();
  }

  // key of a value for sorting: numbers, or text; addresses by their bytes.
  sortKey(f, r) {
    const v = f.get(r);
    if (v == null || f.kind !== 'address' && f.kind !== 'end') return v;
    const ip = f.kind === 'end' ? value(r, f.name + '_ip') : v, port = f.kind === 'end' ? value(r, f.name + '_port') || 0 : 0;
    if (ip == null) return null;
    const four = /^(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip);
    let text;
    if (four) text = '4' + four.slice(1).map(x => x.padStart(3, '0')).join('');
    else {
      const [a, b] = ip.split('::').map(s => s ? s.split(':') : []);
      const words = b ? [...a, ...Array(Math.max(0, 8 - a.length - b.length)).fill('0'), ...b] : a;
      text = '6' + words.map(x => x.padStart(4, '0')).join('');
    }
    return text + String(port).padStart(5, '0');
  }

  sort(f) {
    if (this.sortBy === f) this.down = !this.down;
    else { this.sortBy = f; this.down = isNumber(f) && f.kind !== 'time' && f.name !== 'stream'; }
    const focused = this.head.contains(document.activeElement);
    this.columns();
    if (focused) this.head.querySelector('[data-field=' + f.name + ']').focus({ preventScroll: true });
    this.order();
    this.box.scrollTop = 0;
    this.at = 0;
    this.render(true);
  }

  order() {
    const f = this.sortBy;
    if (!f) return;
    const keyed = this.rows.map(r => [this.sortKey(f, r), r]), sign = this.down ? -1 : 1;
    keyed.sort(([a, x], [b, y]) => a == null || b == null ? (a == null) - (b == null) || x[0] - y[0] : a < b ? -sign : a > b ? sign : x[0] - y[0]);
    this.rows = keyed.map(k => k[1]);
  }

  // filter takes words that must all be somewhere in a row, and comparisons with
  // fields: retransmissions>3 duration>=1.5s state:closed sni!=example.org
  filter(text) {
    const units = { k: 1e3, m: 1e6, g: 1e9, kib: 1024, mib: 1 << 20, gib: 2 ** 30, kb: 1e3, mb: 1e6, gb: 1e9, us: 1, 'µs': 1, ms: 1e3, s: 1e6, min: 6e7, h: 3.6e9 };
    const tests = [];
    for (const word of text.toLowerCase().split(/\s+/).filter(Boolean)) {
      const m = /^([a-z_0-9]+)(>=|<=|!=|==|>|<|=|:)(.+)$/.exec(word), f = m && this.names.get(m[1]);
      if (!f) { tests.push(r => this.haystack(r).includes(word)); continue; }
      const num = /^([\d.]+)([a-zµ]*)$/.exec(m[3]), limit = num && isNumber(f) ? Number(num[1]) * (units[num[2]] || 1) : NaN;
      tests.push(r => {
        const v = f.get(r);
        if (v == null) return false;
        if (!isNaN(limit)) switch (m[2]) {
          case '>': return v > limit;
          case '<': return v < limit;
          case '>=': return v >= limit;
          case '<=': return v <= limit;
          case '!=': return v !== limit;
          default: return v === limit;
        }
        const s = String(isNumber(f) ? show(f, v) : v).toLowerCase();
        return m[2] === '!=' ? s !== m[3] : m[2] === ':' ? s.includes(m[3]) : m[2] === '=' || m[2] === '==' ? s === m[3] : m[2][0] === '>' ? s > m[3] : s < m[3];
      });
    }
    this.rows = D.rows.filter(r => tests.every(t => t(r)));
    this.order();
    this.at = 0;
    this.box.scrollTop = 0;
    $('shown').textContent = this.rows.length === D.rows.length ? plural(D.rows.length, 'connection') : int(this.rows.length) + ' of ' + int(D.rows.length);
    this.render(true);
  }

  haystack(r) {
    let s = this.keys.get(r);
    if (s === undefined) {
      s = (r.filter(v => typeof v === 'string').join('\n') + '\n' + ends(r).join('\n')).toLowerCase();
      this.keys.set(r, s);
    }
    return s;
  }

  search(text) {
    $('filter').value = text;
    this.filter(text);
    $('connections').scrollIntoView();
    $('filter').focus({ preventScroll: true });
  }

  render(force, all) {
    const n = this.rows.length, height = this.box.clientHeight || 400;
    this.body.style.height = (all ? Math.min(n, all) : n) * rowHeight + 'px';
    this.box.setAttribute('aria-rowcount', n + 1);
    this.box.style.setProperty('--rows', D.rows.length * rowHeight + 48 + 'px');
    const from = all ? 0 : Math.max(0, Math.floor(this.box.scrollTop / rowHeight) - 6);
    const to = all ? Math.min(n, all) : Math.min(n, from + Math.ceil(height / rowHeight) + 14);
    while (this.pool.length < to - from) {
      const row = el('div', { class: 'vrow', role: 'row' }, ...this.shown.map(f => el('div', { role: 'gridcell', class: isNumber(f) ? 'n' : f.kind === 'string' ? '' : 'mono' })));
      this.pool.push(row);
      this.body.append(row);
    }
    const size = this.pool.length, used = new Set();
    for (let i = from; i < to; i++) {
      const row = this.pool[i % size];
      used.add(row);
      if (force || row.index !== i || row.row !== this.rows[i] || row.hidden) this.fill(row, i);
      row.classList.toggle('at', i === this.at);
    }
    for (const row of this.pool) if (!used.has(row)) { row.hidden = true; row.row = null; }
  }

  fill(row, i) {
    const r = this.rows[i];
    row.index = i;
    row.row = r;
    row.hidden = false;
    row.id = 'row-' + i;
    row.style.transform = 'translateY(' + i * rowHeight + 'px)';
    row.setAttribute('aria-rowindex', i + 2);
    row.setAttribute('data-stream', r[0]);
    row.classList.toggle('trouble', r[1] > 0 || value(r, 'zero_windows') > 0);
    row.classList.toggle('failed', /^(REJ|S0|RST|SH)/.test(value(r, 'conn_state') || ''));
    this.shown.forEach((f, k) => {
      const cell = row.children[k], text = this.text(f, r);
      cell.textContent = text;
      cell.title = f.kind === 'string' || f.kind === 'end' || f.kind === 'time' ? show(f, f.get(r)) : '';
      cell.classList.toggle('zero', k && (text === '0' || text === '0 B'));
    });
  }

  key(e) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / rowHeight) - 2);
    const move = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[e.key];
    if (move) {
      this.at = Math.max(0, Math.min(this.rows.length - 1, this.at + move));
      const y = this.at * rowHeight, top = this.box.scrollTop, h = this.box.clientHeight - rowHeight - 8;
      if (y < top) this.box.scrollTop = y;
      else if (y + rowHeight > top + h) this.box.scrollTop = y + rowHeight - h;
      this.render();
      this.box.setAttribute('aria-activedescendant', 'row-' + this.at);
    } else if (e.key === 'Enter' && this.rows[this.at] && e.target === this.box) location.hash = 'stream-' + this.rows[this.at][0];
    else return;
    e.preventDefault();
  }
}
