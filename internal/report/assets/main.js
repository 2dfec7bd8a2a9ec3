// Start, links, theme, printing.
readPalette();
drawOverview();
const table = new Table($('table'));
const rest = D.conns - D.rows.length, unplotted = D.rows.length - D.plots.length;
$('more').textContent = [rest > 0 ? plural(rest, 'more connection') + ' are in the summary only: the table holds those with the most bytes, retransmissions, resets and the like.' : '',
  unplotted > 0 && D.plots.length ? plural(D.plots.length, 'connection') + ' have plots.' : ''].filter(Boolean).join(' ');

let scroll = 0;
function route() {
  hideTip();
  const m = /^#stream-(\d+)$/.exec(location.hash);
  if (m && $('detail').hidden) scroll = window.scrollY;
  const back = !m && !$('detail').hidden;
  $('overview').hidden = !!m;
  $('detail').hidden = !m;
  if (m) {
    showDetail(Number(m[1]));
    window.scrollTo(0, 0);
  } else {
    group = null;
    redraw();
    if (back) { window.scrollTo(0, scroll); $('table').focus({ preventScroll: true }); }
  }
}

function redraw() {
  readPalette();
  if (group) group.drawNow();
  else if ($('detail').hidden) { traffic.draw(); rtts.draw(); table.render(); }
}

window.addEventListener('hashchange', route);
let waiting = 0;
window.addEventListener('resize', () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(redraw); });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
$('theme').addEventListener('click', () => {
  const root = document.documentElement, dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  redraw();
});
document.addEventListener('keydown', e => {
  if (e.key === 'Escape' && !$('detail').hidden) location.hash = 'connections';
  else if (e.key === '/' && $('detail').hidden && !/^(INPUT|SELECT)$/.test(e.target.tagName)) { $('filter').focus(); e.preventDefault(); }
});

// Paper is white, and does not scroll.
let themed;
window.addEventListener('beforeprint', () => {
  themed = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = 'light';
  redraw();
  if ($('detail').hidden) { table.columns(13); table.render(true, 200); }
});
window.addEventListener('afterprint', () => {
  if (themed) document.documentElement.dataset.theme = themed; else delete document.documentElement.dataset.theme;
  redraw();
  table.columns();
  table.render(true);
});
route();
