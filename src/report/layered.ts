/** A directed graph whose edges lead from lower to higher numbers. */
export interface Drawing {
  /** Of every node its column, 0 in the middle of the first; nodes of one row are at least 1 apart. */
  readonly x: Float64Array;
  /** Of every node its row; edges lead downwards. */
  readonly row: Int32Array;
  /** Of every edge the column that it takes past the rows between its ends; NaN: the straight line is free. */
  readonly bend: Float64Array;
}

const sweeps = 6;
/** How many rows beside a long edge are looked at on its way. */
const looked = 400;

/**
 * A layered drawing: rows by the longest path, columns by the middle of the neighbours, swept down and up. Long edges pass
 * the rows between their ends on the side. Time grows with nodes and edges, so that graphs of 100,000 nodes can be drawn.
 */
export function layered(nodes: number, edges: readonly (readonly [from: number, to: number])[]): Drawing {
  const before: number[][] = Array.from({ length: nodes }, () => []);
  const after: number[][] = Array.from({ length: nodes }, () => []);
  for (const [from, to] of edges) {
    before[to].push(from);
    after[from].push(to);
  }
  const row = rowsOf(nodes, before, after);
  const rows: number[][] = [];
  for (let node = 0; node < nodes; node++) (rows[row[node]] ??= []).push(node);
  const x = new Float64Array(nodes);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const down = sweep % 2 === 0;
    const neighbours = down ? before : after;
    for (const own of down ? rows : rows.toReversed()) place(own, neighbours, x);
  }
  return { x, row, bend: bendsOf(edges, row, rows, x) };
}

/** Longest path from the top; what has nothing above it stands directly over the first that it leads to. */
function rowsOf(nodes: number, before: readonly number[][], after: readonly number[][]): Int32Array {
  const row = new Int32Array(nodes);
  for (let node = 0; node < nodes; node++)
    for (const other of before[node]) row[node] = Math.max(row[node], row[other] + 1);
  for (let node = 0; node < nodes; node++) {
    if (before[node].length > 0 || after[node].length === 0) continue;
    row[node] = Math.max(0, after[node].reduce((least, other) => Math.min(least, row[other]), Infinity) - 1);
  }
  return row;
}

/**
 * Put the nodes of a row as near to the middle of their neighbours as their order and a distance of 1 allow: least squares
 * under an order, by pooling neighbours that would overlap.
 */
function place(own: number[], neighbours: readonly number[][], x: Float64Array): void {
  const wanted = new Map(own.map(node => [node, middle(neighbours[node], x) ?? x[node]]));
  own.sort((a, b) => wanted.get(a)! - wanted.get(b)! || x[a] - x[b] || a - b);
  const pools: { sum: number; count: number }[] = [];
  own.forEach((node, i) => {
    pools.push({ sum: wanted.get(node)! - i, count: 1 });
    while (pools.length > 1) {
      const [a, b] = pools.slice(-2);
      if (a.sum / a.count <= b.sum / b.count) break;
      pools.splice(-2, 2, { sum: a.sum + b.sum, count: a.count + b.count });
    }
  });
  let i = 0;
  for (const { sum, count } of pools) for (let k = 0; k < count; k++, i++) x[own[i]] = sum / count + i;
}

const middle = (nodes: readonly number[], x: Float64Array): number | null => {
  if (nodes.length === 0) return null;
  const sorted = nodes.map(node => x[node]).sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

function bendsOf(
  edges: readonly (readonly [number, number])[],
  row: Int32Array,
  rows: readonly number[][],
  x: Float64Array,
): Float64Array {
  const left = rows.map(own => own.reduce((least, node) => Math.min(least, x[node]), Infinity));
  const right = rows.map(own => own.reduce((most, node) => Math.max(most, x[node]), -Infinity));
  return Float64Array.from(edges, ([from, to]) => {
    const [top, bottom] = [row[from] + 1, Math.min(row[to], row[from] + 1 + looked)];
    let isFree = true;
    let [low, high] = [Infinity, -Infinity];
    for (let r = top; r < bottom; r++) {
      const line = x[from] + ((x[to] - x[from]) * (r - row[from])) / (row[to] - row[from]);
      isFree &&= rows[r].every(node => Math.abs(x[node] - line) > 0.6);
      low = Math.min(low, left[r]);
      high = Math.max(high, right[r]);
    }
    if (isFree) return Number.NaN;
    const center = (x[from] + x[to]) / 2;
    return center - low < high - center ? low - 0.7 : high + 0.7;
  });
}
