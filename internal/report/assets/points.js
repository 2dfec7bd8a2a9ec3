// Points of a connection, as encode.go wrote them.
const FIN = 1, SYN = 2, RST = 4, ACK = 16;
const anaNames = ['retransmission', 'fast_retransmission', 'spurious_retransmission', 'out_of_order', 'lost_segment', 'ack_lost_segment', 'duplicate_ack', 'zero_window', 'zero_window_probe', 'zero_window_probe_ack', 'window_full', 'window_update', 'keep_alive', 'keep_alive_ack', 'reused_ports'];
const verdicts = ['new data', 'retransmission', 'reordered', 'network duplicate'];
const flagNames = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'AE'];
const flagText = f => flagNames.filter((_, i) => f >> i & 1).sort((a, b) => (a === 'ACK') - (b === 'ACK')).join(',') || 'none';
const anaText = a => anaNames.filter((_, i) => a >> i & 1).join(', ');

// reader of varints; numbers beyond 2^53 lose their low digits and no more.
function varints(text) {
  const raw = atob(text), n = raw.length;
  let at = 0;
  const byte = () => raw.charCodeAt(at++);
  const uint = () => {
    let v = 0, scale = 1;
    for (;;) {
      const b = byte();
      v += (b & 127) * scale;
      if (!(b & 128)) return v;
      scale *= 128;
    }
  };
  const sint = () => { const v = uint(); return v % 2 ? -(v + 1) / 2 : v / 2; };
  return { byte, uint, sint, more: () => at < n };
}

function loadPoints(stream) {
  const e = $('plot-' + stream);
  if (!e) return null;
  const data = JSON.parse(e.textContent), r = varints(data.points), points = [], sacks = [];
  const next = [0, 0], ack = [0, 0], win = [0, 0];
  let time = 0, frame = 0;
  while (r.more()) {
    const h = r.byte(), d = h & 1;
    const p = { d, v: h >> 1 & 3, n: 1, span: 0, flags: ACK, ana: 0, rtt: 0, fly: 0 };
    p.t = time += r.sint();
    p.seq = next[d] + r.sint();
    p.ack = ack[d] += r.sint();
    p.len = r.uint();
    if (data.numbered) p.frame = frame += r.sint();
    if (p.len) p.fly = r.uint();
    if (h & 8) p.flags = r.uint();
    if (h & 16) p.ana = r.uint();
    if (h & 32) p.rtt = r.uint();
    if (h & 64) win[d] += r.sint();
    p.win = p.winMin = win[d];
    p.rttMin = p.rtt;
    if (h & 128) {
      p.span = r.uint() * 1000;
      p.n = r.uint();
      p.rttMin = p.rtt - r.uint();
      p.winMin = p.win - r.uint();
    }
    next[d] = p.seq + p.len;
    points.push(p);
  }
  const s = varints(data.sacks);
  let at = 0, left = 0;
  while (s.more()) {
    const d = s.byte();
    at += s.sint();
    left += s.sint();
    sacks.push({ d, t: at, left, right: left + s.sint() });
  }
  // Times count from the first packet from here on.
  const start = points.length ? points[0].t : 0;
  for (const p of points) p.t -= start;
  for (const p of sacks) p.t -= start;
  return { ...data, points, sacks, start };
}
