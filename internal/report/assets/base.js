// Helpers of all parts: elements, numbers, colours.
const $ = id => document.getElementById(id);
const D = JSON.parse($('data').textContent);
const plotted = new Set(D.plots);

// el makes an element; text reaches the page only as text nodes.
function el(tag, props, ...kids) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props || {})) {
    if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (v === true) e.setAttribute(k, '');
    else if (v !== false && v != null) e.setAttribute(k, v);
  }
  e.append(...kids.filter(k => k != null && k !== false));
  return e;
}

const intFormat = new Intl.NumberFormat('en-US');
const int = n => typeof n === 'number' ? intFormat.format(n) : String(n);
const trim = s => s.replace(/\.(\d*?)0+(?!\d)/, (m, d) => d && '.' + d);
const digits3 = n => n >= 99.95 ? n.toFixed(0) : n >= 9.995 ? n.toFixed(1) : n.toFixed(2);

function scaled(n, step, units) {
  let i = 0;
  n = n || 0;
  while (Math.abs(n) >= step * 0.9995 && i < units.length - 1) { n /= step; i++; }
  return (i ? (n < 0 ? '-' : '') + digits3(Math.abs(n)) : int(Math.round(n * 10) / 10)) + units[i];
}
const bytes = n => scaled(n, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB']);
const bits = n => scaled(n * 8, 1000, [' bit/s', ' kbit/s', ' Mbit/s', ' Gbit/s', ' Tbit/s']);
const short = n => scaled(n, 1000, [' ', ' k', ' M', ' G', ' T']);
const share = (a, b) => !b ? '–' : a && a / b < 0.0001 ? '<0.01 %' : (100 * a / b).toFixed(a / b < 0.1 ? 2 : 1) + ' %';
const plural = (n, one, many) => int(n) + ' ' + (n === 1 ? one : many || one + 's');

// duration prints microseconds.
function duration(us) {
  if (us < 1000) return (Number.isInteger(us) ? us : us.toFixed(1)) + ' µs';
  if (us < 1e6) return digits3(us / 1e3) + ' ms';
  const s = us / 1e6;
  if (s < 60) return (s < 10 ? s.toFixed(3) : s.toFixed(2)) + ' s';
  const pad = n => String(Math.floor(n)).padStart(2, '0');
  if (s < 3600) return Math.floor(s / 60) + ' m ' + pad(s % 60) + ' s';
  if (s < 86400) return Math.floor(s / 3600) + ' h ' + pad(s / 60 % 60) + ' m';
  return Math.floor(s / 86400) + ' d ' + pad(s / 3600 % 24) + ' h';
}

// clock prints a time, given in nanoseconds after the base of the report, in UTC.
const base = BigInt(D.base);
function clock(ns, places = 6) {
  const at = base + BigInt(Math.round(ns));
  const frac = ((at % 1000000000n) + 1000000000n) % 1000000000n;
  const date = new Date(Number((at - frac) / 1000000n));
  if (isNaN(date)) return ['?', '?'];
  const iso = date.toISOString();
  return [iso.slice(0, 10), iso.slice(11, 19) + (places ? '.' + String(frac).padStart(9, '0').slice(0, places) : '')];
}
const stamp = ns => clock(ns).join(' ');

const end = (ip, port) => (ip == null ? '*' : ip.includes(':') ? '[' + ip + ']' : ip) + ':' + (port == null ? '*' : port);

// Fields: the registry's, and the two ends, which are two fields each.
const fields = D.fields.map((f, i) => ({ ...f, at: i + 2 }));
const byName = new Map(fields.map(f => [f.name, f]));
const value = (row, name) => { const f = byName.get(name); return f ? row[f.at] : undefined; };
const rowOf = new Map(D.rows.map(r => [r[0], r]));
const ends = r => [end(value(r, 'local_ip'), value(r, 'local_port')), end(value(r, 'remote_ip'), value(r, 'remote_port'))];
const localOpened = r => value(r, 'direction') !== 'inbound';
const isNumber = f => !['string', 'enum', 'address', 'state', 'id', 'cookie', 'end'].includes(f.kind);

function show(f, v) {
  if (v == null) return '';
  switch (f.kind) {
    case 'duration': return duration(v);
    case 'bytes': return bytes(v);
    case 'rate': return bits(v);
    case 'time': return stamp(v);
    case 'bool': return v ? 'yes' : 'no';
    case 'port': return String(v);
    case 'count': return int(v);
    default: return String(v);
  }
}

// Colours are the style sheet's, so that canvases follow the theme.
let palette = {};
function readPalette() {
  const css = getComputedStyle(document.documentElement);
  for (const name of ['fg', 'dim', 'faint', 'line', 'card', 'accent', 'a', 'b', 'red', 'orange', 'green', 'amber', 'violet', 'teal'])
    palette[name] = css.getPropertyValue('--' + name).trim();
}

// fit sizes a canvas to its place, in device pixels, and clears it.
function fit(canvas, height) {
  const w = Math.max(canvas.clientWidth, 50), ratio = Math.min(window.devicePixelRatio || 1, 3);
  canvas.width = Math.round(w * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = height + 'px';
  const g = canvas.getContext('2d');
  g.scale(ratio, ratio);
  g.font = '11px system-ui, sans-serif';
  return [g, w, height];
}

// ticks are round numbers between two values.
function ticks(lo, hi, n) {
  const raw = (hi - lo) / Math.max(n, 1);
  if (!(raw > 0) || !isFinite(raw)) return [[lo], 1];
  const mag = 10 ** Math.floor(Math.log10(raw));
  const step = mag * ([1, 2, 5].find(m => m * mag >= raw * 0.999) || 10);
  const out = [];
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + step * 1e-9; i++) out.push(i * step || 0);
  return [out, step];
}

// seconds labels a time axis: as many decimals as the step needs.
function seconds(ns, step) {
  const unit = step >= 5e8 ? [1e9, ' s'] : step >= 5e5 ? [1e6, ' ms'] : [1e3, ' µs'];
  const places = Math.max(0, Math.min(6, -Math.floor(Math.log10(step / unit[0]) + 1e-9)));
  return intFormat.format(Number((ns / unit[0]).toFixed(places))) + unit[1];
}

const tip = $('tip');
function showTip(x, y, ...kids) {
  tip.replaceChildren(...kids);
  tip.hidden = false;
  const r = tip.getBoundingClientRect(), w = document.documentElement.clientWidth;
  tip.style.left = Math.max(4, x + 14 + r.width > w ? x - r.width - 14 : x + 14) + 'px';
  tip.style.top = Math.max(4, Math.min(y + 14, window.innerHeight - r.height - 6)) + 'px';
}
const hideTip = () => { tip.hidden = true; };

const legendKey = (color, text) => {
  const dot = el('i');
  dot.style.background = 'var(--' + color + ')';
  return el('span', {}, dot, text);
};
