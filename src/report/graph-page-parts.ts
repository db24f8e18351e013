/** What the page of a graph looks like. */
export const style = `
html, body { margin: 0; height: 100%; font: 13px/1.4 system-ui, sans-serif; color: #222; }
body { display: grid; grid-template-columns: 320px 1fr; }
aside { overflow: auto; padding: 0 12px; border-right: 1px solid #ccc; background: #fafafa; }
h1 { font-size: 15px; overflow-wrap: anywhere; }
h2 { font-size: 13px; margin: 12px 0 4px; }
ul { list-style: none; margin: 0; padding: 0; }
li { padding: 2px 4px; cursor: pointer; overflow-wrap: anywhere; border-left: 10px solid #bbb; margin: 2px 0; }
li.chosen, li:hover { background: #e6eefc; }
#search { width: 100%; box-sizing: border-box; }
#graph { width: 100%; height: 100%; display: block; outline: none; }
#tip { position: fixed; max-width: 420px; max-height: 60vh; overflow: hidden; padding: 6px 8px; background: #fff; border: 1px solid #888; box-shadow: 0 2px 8px #0003; pointer-events: none; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
  html, body { color: #ddd; background: #1b1b1b; }
  aside { background: #222; border-color: #444; }
  li.chosen, li:hover { background: #2b3b57; }
  #tip { background: #222; }
}
`;

/**
 * Draws the graph on a canvas, only what is in sight, so that thousands of nodes stay quick. It runs in the page: plain
 * JavaScript, everything from the file is set as text.
 */
export const script = `
'use strict';
const { nodes, edges, groups, walls } = JSON.parse(document.getElementById('data').textContent);
const canvas = document.getElementById('graph');
const tip = document.getElementById('tip');
const pen = canvas.getContext('2d');
const dark = matchMedia('(prefers-color-scheme: dark)').matches;
const ink = dark ? '#ddd' : '#222';
const paper = dark ? '#1b1b1b' : '#fff';
const [stepX, stepY, boxW, boxH] = [170, 52, 150, 30];
const colour = (g, light = dark ? 45 : 70) => 'hsl(' + ((g * 137.508) % 360) + ' 65% ' + light + '%)';
let view = { x: 0, y: -1, zoom: 1 };
let chosen = null;

const rows = [];
nodes.forEach((node, i) => (rows[node.y] ??= []).push(i));
const [left, right] = nodes.reduce(([a, b], { x }) => [Math.min(a, x), Math.max(b, x)], [0, 0]);
const isChosen = node =>
  !chosen || node === chosen.node || (chosen.kind === 'group' && (node.groups.includes(chosen.at) || node.sums.includes(chosen.at))) ||
  (chosen.kind === 'wall' && (node.walled.includes(chosen.at) || node.causes.includes(chosen.at)));
const toX = x => canvas.clientWidth / 2 + (x * stepX - view.x) * view.zoom;
const toY = y => (y * stepY - view.y) * view.zoom + 40;

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(paint);
}
function paint() {
  waiting = false;
  const [w, h] = [canvas.clientWidth, canvas.clientHeight];
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== w * ratio || canvas.height !== h * ratio) [canvas.width, canvas.height] = [w * ratio, h * ratio];
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = paper;
  pen.fillRect(0, 0, w, h);
  for (const edge of edges) drawEdge(edge, w, h);
  const first = Math.max(0, Math.floor((view.y - 40 / view.zoom) / stepY) - 1);
  const last = Math.min(rows.length - 1, Math.ceil((view.y + h / view.zoom) / stepY) + 1);
  for (let y = first; y <= last; y++) for (const i of rows[y] ?? []) drawNode(nodes[i], w);
}
function drawEdge([from, to, group, bend], w, h) {
  const [a, b] = [nodes[from], nodes[to]];
  const [y1, y2] = [toY(a.y) + (boxH / 2) * view.zoom, toY(b.y) - (boxH / 2) * view.zoom];
  if (y2 < 0 || y1 > h) return;
  const [x1, x2] = [toX(a.x), toX(b.x)];
  pen.strokeStyle = group < 0 ? (dark ? '#666' : '#bbb') : colour(group, 50);
  pen.globalAlpha = isChosen(a) && isChosen(b) ? 1 : 0.15;
  pen.lineWidth = Math.max(1, 2 * view.zoom);
  pen.beginPath();
  pen.moveTo(x1, y1);
  const d = Math.min(stepY * view.zoom, (y2 - y1) / 2);
  if (bend === undefined) pen.bezierCurveTo(x1, y1 + d, x2, y2 - d, x2, y2);
  else {
    const [x, gap] = [toX(bend), (stepY - boxH) * view.zoom];
    pen.bezierCurveTo(x1, y1 + gap, x, y1, x, y1 + gap);
    pen.lineTo(x, y2 - gap);
    pen.bezierCurveTo(x, y2, x2, y2 - gap, x2, y2);
  }
  pen.stroke();
  pen.globalAlpha = 1;
}
function drawNode(node, w) {
  const [bw, bh] = [boxW * view.zoom, boxH * view.zoom];
  const [x, y] = [toX(node.x) - bw / 2, toY(node.y) - bh / 2];
  if (x > w || x + bw < 0) return;
  pen.globalAlpha = isChosen(node) ? 1 : 0.2;
  const parts = node.groups.length > 0 ? node.groups.map(g => colour(g)) : [node.walled.length > 0 ? (dark ? '#555' : '#ccc') : paper];
  parts.forEach((fill, i) => {
    pen.fillStyle = fill;
    pen.fillRect(x + (bw * i) / parts.length, y, bw / parts.length + 0.5, bh);
  });
  pen.strokeStyle = node.causes.length > 0 ? '#d00' : ink;
  pen.lineWidth = node.causes.length > 0 ? Math.max(2, 4 * view.zoom) : 1;
  pen.strokeRect(x, y, bw, bh);
  if (view.zoom > 0.35) {
    pen.fillStyle = ink;
    pen.font = 13 * view.zoom + 'px system-ui, sans-serif';
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    pen.fillText(fitted(node.op, 20), x + bw / 2, y + bh * 0.32);
    pen.font = 9 * view.zoom + 'px system-ui, sans-serif';
    pen.fillText(fitted(node.name, 30), x + bw / 2, y + bh * 0.74);
  }
  pen.globalAlpha = 1;
}
const fitted = (text, most) => (text.length > most ? '…' + text.slice(1 - most) : text);

function nodeAt(px, py) {
  const y = (py - 40) / view.zoom + view.y;
  const row = Math.round(y / stepY);
  if (Math.abs(y - row * stepY) > boxH / 2) return null;
  const x = (px - canvas.clientWidth / 2) / view.zoom + view.x;
  const found = (rows[row] ?? []).find(i => Math.abs(nodes[i].x * stepX - x) <= boxW / 2);
  return found === undefined ? null : nodes[found];
}
function tell(text, px, py) {
  tip.hidden = text === '';
  tip.textContent = text;
  tip.style.left = Math.min(px + 14, innerWidth - 440) + 'px';
  tip.style.top = py + 14 + tip.offsetHeight > innerHeight ? Math.max(0, py - 14 - tip.offsetHeight) + 'px' : py + 14 + 'px';
}
const textOf = node => [node.op + '  ' + node.name, ...node.lines].join('\\n');

let held = null;
canvas.addEventListener('pointerdown', e => {
  held = { x: e.clientX, y: e.clientY, view: { ...view } };
  canvas.setPointerCapture(e.pointerId);
});
canvas.addEventListener('pointerup', e => {
  const moved = held && Math.hypot(e.clientX - held.x, e.clientY - held.y) > 4;
  held = null;
  if (!moved) choose(null);
});
canvas.addEventListener('pointermove', e => {
  const box = canvas.getBoundingClientRect();
  if (held) {
    view = { ...view, x: held.view.x - (e.clientX - held.x) / view.zoom, y: held.view.y - (e.clientY - held.y) / view.zoom };
    tell('', 0, 0);
    return draw();
  }
  const node = nodeAt(e.clientX - box.left, e.clientY - box.top);
  tell(node ? textOf(node) : '', e.clientX, e.clientY);
});
canvas.addEventListener('pointerleave', () => tell('', 0, 0));
canvas.addEventListener('wheel', e => {
  e.preventDefault();
  const box = canvas.getBoundingClientRect();
  const [px, py] = [e.clientX - box.left - canvas.clientWidth / 2, e.clientY - box.top - 40];
  const zoom = Math.min(3, Math.max(0.01, view.zoom * Math.exp(-e.deltaY / 500)));
  view = { zoom, x: view.x + px / view.zoom - px / zoom, y: view.y + py / view.zoom - py / zoom };
  draw();
}, { passive: false });
canvas.addEventListener('keydown', e => {
  const [dx, dy] = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[e.key] ?? [0, 0];
  view = { ...view, x: view.x + (dx * 80) / view.zoom, y: view.y + (dy * 80) / view.zoom };
  draw();
});
addEventListener('resize', draw);

function goTo(node) {
  if (!node) return;
  view = { zoom: Math.max(view.zoom, 0.6), x: node.x * stepX, y: node.y * stepY - canvas.clientHeight / 2 / Math.max(view.zoom, 0.6) };
}
function choose(next, item) {
  for (const li of document.querySelectorAll('li.chosen')) li.classList.remove('chosen');
  chosen = next;
  if (next) {
    item?.classList.add('chosen');
    goTo(next.node ?? nodes.find(isChosen));
  }
  draw();
}
function list(id, kind, entries, paintOf) {
  const ul = document.getElementById(id);
  entries.forEach((entry, at) => {
    const li = document.createElement('li');
    li.textContent = entry.name + (kind === 'group' ? '  ' + entry.lines[0] : '');
    li.style.borderColor = paintOf(at);
    li.addEventListener('click', () => choose({ kind, at }, li));
    li.addEventListener('pointermove', e => tell([entry.name, ...entry.lines].join('\\n'), e.clientX, e.clientY));
    li.addEventListener('pointerleave', () => tell('', 0, 0));
    ul.append(li);
  });
}
list('groups', 'group', groups, at => colour(at, 50));
list('walls', 'wall', walls, () => '#d00');
document.getElementById('search').addEventListener('input', e => {
  const wanted = e.target.value.toLowerCase();
  const hits = wanted === '' ? [] : nodes.filter(n => (n.op + ' ' + n.name).toLowerCase().includes(wanted));
  document.getElementById('found').textContent = wanted === '' ? '' : hits.length + ' found';
  choose(hits.length > 0 ? { kind: 'node', node: hits[0] } : null);
});
const fit = (canvas.clientWidth - 40) / Math.max(1, (right - left + 1.5) * stepX);
view = { zoom: Math.min(1, Math.max(0.1, fit)), x: ((left + right) / 2) * stepX, y: -10 };
draw();
`;
