// One connection: facts, ladder, plots.
let group = null;

// chips say in words what the numbers mean.
function chips(r) {
  const out = [], v = n => value(r, n) || 0;
  const add = (text, color) => { const c = el('span', { class: 'chip' }, text); c.style.setProperty('--mark', 'var(--' + color + ')'); out.push(c); };
  if (value(r, 'state')) add(value(r, 'state'), 'dim');
  if (value(r, 'conn_state')) add(value(r, 'conn_state'), /^S[F1]$/.test(value(r, 'conn_state')) ? 'green' : 'orange');
  if (value(r, 'close_reason')) add('ended by ' + value(r, 'close_reason') + (value(r, 'closed_by') ? ' (' + value(r, 'closed_by') + ')' : ''), value(r, 'close_reason') === 'fin' ? 'green' : 'orange');
  const packets = v('packets_sent') + v('packets_received');
  if (r[1]) add(plural(r[1], 'segment') + ' sent again (' + share(r[1], packets) + ')', 'red');
  if (v('zero_windows')) add(plural(v('zero_windows'), 'zero window'), 'amber');
  if (v('out_of_order')) add(int(v('out_of_order')) + ' out of order', 'orange');
  if (v('lost_segments')) add(plural(v('lost_segments'), 'gap'), 'b');
  if (value(r, 'complete') === 0) add('incomplete', 'amber');
  return out;
}

function facts(r) {
  const sides = [], groups = new Map(), done = new Set(['local_ip', 'local_port', 'remote_ip', 'remote_port']);
  for (const f of fields) {
    const m = /^(.*)_sent(_us)?$/.exec(f.name);
    const other = m && byName.get(m[1] + '_received' + (m[2] || ''));
    if (other) {
      done.add(f.name).add(other.name).add(m[1]);
      const doc = f.doc.replace(/, sent by the local end\.$/, '.');
      if (r[f.at] || r[other.at]) sides.push(el('tr', {}, el('th', { scope: 'row', title: doc }, m[1].replace(/_/g, ' ')), el('td', { class: 'n' }, show(f, r[f.at])), el('td', { class: 'n' }, show(other, r[other.at]))));
    }
  }
  for (const f of fields) {
    if (done.has(f.name) || r[f.at] == null || r[f.at] === 'unknown') continue;
    if (!groups.has(f.group)) groups.set(f.group, []);
    groups.get(f.group).push(el('div', { title: f.doc }, el('dt', {}, f.name.replace(/_us$/, '').replace(/_/g, ' ')), el('dd', {}, show(f, r[f.at]))));
  }
  const [local, remote] = ends(r);
  const broken = s => { const i = s.lastIndexOf(':'); return [s.slice(0, i), el('wbr'), s.slice(i)]; };
  const role = i => localOpened(r) === (i === 0) ? 'initiator' : 'responder';
  return el('div', { class: 'facts' },
    el('div', { class: 'card scroll' }, el('table', { class: 'sides' }, el('thead', {}, el('tr', {}, el('td'), el('th', { scope: 'col', class: 'n' }, ...broken(local), el('small', {}, 'local, ' + role(0))), el('th', { scope: 'col', class: 'n' }, ...broken(remote), el('small', {}, 'remote, ' + role(1))))),
      el('tbody', {}, ...sides))),
    el('div', { class: 'card groups' }, ...[...groups].map(([g, list]) => el('section', {}, el('h3', {}, g), el('dl', {}, ...list)))));
}

function describe(data, names) {
  return p => {
    const line = (k, v) => el('div', {}, el('span', {}, k), v);
    const out = [el('b', {}, names[p.d] + ' → ' + names[1 - p.d]), line('time', (p.t / 1e9).toFixed(6) + ' s (' + clock(data.start + p.t)[1] + ')')];
    if (p.frame) out.push(line('frame', p.n > 1 ? 'from ' + p.frame : String(p.frame)));
    if (p.n > 1) out.push(line('packets', int(p.n) + ' in ' + duration(p.span / 1e3)));
    out.push(line('flags', flagText(p.flags)), line('seq', int(p.seq) + (p.len ? ' – ' + int(p.seq + p.len) : '')));
    if (p.flags & ACK) out.push(line('ack', int(p.ack)));
    out.push(line('len', int(p.len)), line('window', int(p.win)));
    if (p.len) out.push(line('in flight', int(p.fly)));
    if (p.rtt) out.push(line('RTT', (p.rttMin < p.rtt ? duration(p.rttMin) + ' – ' : '') + duration(p.rtt)));
    if (p.v) out.push(line('verdict', el('em', {}, verdicts[p.v])));
    if (p.ana) out.push(line('analysis', anaText(p.ana)));
    return out;
  };
}

// The ladder shows how the connection began and how it ended.
function ladder(data, names) {
  const ps = data.points, n = 24, out = [];
  let last = 0;
  const rung = p => {
    const len = p.n > 1 ? plural(p.n, 'packet') + ', ' : '';
    const text = len + (p.flags & ~(ACK | 8) || !p.len ? flagText(p.flags) + '  ' : '') + 'seq ' + int(p.seq) + (p.flags & ACK ? '  ack ' + int(p.ack) : '') + (p.len ? '  len ' + int(p.len) : '') + '  win ' + int(p.win);
    const notes = [p.v ? verdicts[p.v] : '', ...anaNames.filter((a, i) => i && p.ana >> i & 1 && !(p.v && i < 4)).map(a => a.replace(/_/g, ' '))].filter(Boolean).join(', ');
    const gap = p.t - last;
    last = p.t + p.span;
    return el('li', { class: 'd' + p.d + (p.v ? ' v' + p.v : '') + (p.flags & RST ? ' rst' : '') },
      el('time', { title: p.frame ? 'frame ' + p.frame : null }, (p.t / 1e9).toFixed(6), el('small', {}, gap > 0 ? '+' + duration(Math.round(gap / 1e3)) : '')),
      el('span', { class: 'arrow' }, el('span', {}, text, notes && el('em', {}, notes))));
  };
  const head = ps.length <= 2 * n ? ps : ps.slice(0, n);
  out.push(...head.map(rung));
  if (ps.length > 2 * n) {
    const tail = ps.slice(-n), shown = [...head, ...tail].reduce((s, p) => s + p.n, 0);
    out.push(el('li', { class: 'gap' }, plural(data.packets - data.missed - shown, 'packet') + ' in between'));
    out.push(...tail.map(rung));
  }
  return el('section', { class: 'card ladder' }, el('h3', {}, 'Ladder'), el('div', { class: 'heads' }, el('span', {}, 'Seconds'), el('b', {}, names[0]), el('b', {}, names[1])), el('ol', {}, ...out));
}

function plots(data, names) {
  const state = { dir: 0, bucket: 0, dirs: directions(data), arrows: ['initiator →', '← responder'] };
  const sum = d => data.points.reduce((n, p) => n + (p.d === d ? p.len : 0), 0);
  state.dir = sum(1) > sum(0) ? 1 : 0;
  const max = data.points.reduce((m, p) => Math.max(m, p.t + p.span), 0);
  group = new Group(data.points, max);
  group.describe = describe(data, names);
  const dirs = [0, 1].map(d => el('button', { type: 'button', 'data-dir': d, 'aria-pressed': String(d === state.dir), onclick: () => {
    state.dir = d;
    dirs.forEach((b, i) => b.setAttribute('aria-pressed', String(i === d)));
    group.draw();
  } }, names[d] + ' → ' + names[1 - d]));
  state.switcher = el('span', { class: 'switch', role: 'group', 'aria-label': 'Direction of the data' }, ...dirs);
  const select = el('select', { 'aria-label': 'Bucket of the throughput', onchange: () => { state.bucket = Number(select.value); group.draw(); } },
    ...[[0, 'auto'], [1e6, '1 ms'], [1e7, '10 ms'], [1e8, '100 ms'], [1e9, '1 s'], [1e10, '10 s']].filter(([v]) => v < max || !v).map(([v, t]) => el('option', { value: v }, t)));
  state.buckets = el('label', { class: 'bucket' }, 'bucket ', select);
  const list = [sequencePlot, throughputPlot, rttPlot, flightPlot].map(make => make(group, state));
  const notes = [];
  if (data.missed) notes.push('The first ' + plural(data.missed, 'packet') + ' were not kept: the plots begin later.');
  if (data.count < data.packets - data.missed) notes.push(plural(data.packets - data.missed, 'packet') + ' in ' + plural(data.count, 'point') + ': neighbours without anything to tell are drawn as one.');
  if (data.sackStride > 1) notes.push('One in ' + data.sackStride + ' SACK blocks is drawn.');
  return el('section', { class: 'card plots' },
    el('div', { class: 'bar' }, el('h3', {}, 'Plots'), el('span', { class: 'note' }, 'wheel or drag zooms, shift and drag pans, double click resets; keys: ← → + − 0, and , . from packet to packet'),
      el('button', { type: 'button', onclick: () => group.reset() }, 'Reset zoom')),
    ...list.map(p => p.el), notes.length ? el('p', { class: 'note' }, notes.join(' ')) : null);
}

function showDetail(stream) {
  const r = rowOf.get(stream), box = $('detail');
  group = null;
  if (!r) {
    box.replaceChildren(el('p', {}, el('a', { href: '#connections' }, '← All connections')), el('h2', { id: 'detail-title' }, 'Stream ' + stream + ' is not in this report'));
    return;
  }
  const both = ends(r), names = localOpened(r) ? both : both.slice().reverse();
  const rows = table.rows, i = rows.indexOf(r);
  const step = (d, text) => i >= 0 && rows[i + d] ? el('a', { href: '#stream-' + rows[i + d][0], class: 'button' }, text) : el('span', { class: 'button off' }, text);
  const label = ['sni', 'http_host', 'remote_name', 'process'].map(n => value(r, n)).filter(Boolean)[0];
  const data = plotted.has(stream) ? loadPoints(stream) : null;
  box.replaceChildren(
    el('nav', { class: 'bar' }, el('a', { href: '#connections', class: 'button' }, '← All connections'), el('span', { class: 'push' }), step(-1, '‹ Previous'), step(1, 'Next ›')),
    el('div', { class: 'heading' }, el('h2', { id: 'detail-title', tabindex: -1 }, el('span', { class: 'who' }, names[0]), ' → ', el('span', { class: 'who' }, names[1])), label ? el('p', { class: 'label' }, label) : null,
      el('p', { class: 'chips' }, ...chips(r)), el('p', { class: 'note' }, 'In Wireshark: ', el('code', {}, 'tcp.stream == ' + stream))),
    facts(r),
    data ? plots(data, names) : el('p', { class: 'note card' }, 'The packets of this connection were not kept: plots go to the connections with the most bytes, retransmissions, resets and the like.'),
    data ? ladder(data, names) : '');
  if (group) group.drawNow();
  $('detail-title').focus({ preventScroll: true });
}
