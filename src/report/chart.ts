import { messageOf, UserError } from '../util/errors.ts';

/** A point of a chart; what stands beside it is `label`. */
export interface ChartPoint {
  readonly x: number;
  readonly y: number;
  /** Ends of the bar through it. */
  readonly low: number;
  readonly high: number;
  readonly label: string;
  readonly series: string;
}

export interface ChartPanel {
  readonly title: string;
  readonly points: readonly ChartPoint[];
}

const width = 460;
const height = 340;
const gap = 20;

/**
 * Panels side by side that share the y axis, as one SVG file that needs nothing else.
 * @param yTitle what both show on the y axis
 * @param most the largest value that it can have
 * @throws UserError E_PLOT where the packages that draw are not installed
 */
export async function chart(panels: readonly ChartPanel[], yTitle: string, most: number): Promise<string> {
  const { Plot, document } = await loadDrawing();
  const all = panels.flatMap(({ points }) => points);
  const lowest = Math.min(...all.map(point => point.low));
  const highest = Math.max(...all.map(point => point.high));
  const margin = Math.max(1, (highest - lowest) * 0.08);
  const drawn = panels.map(({ title, points }) => {
    const plot = Plot.plot({
      document,
      width,
      height,
      marginRight: 60,
      style: { background: 'white' },
      x: { label: title, grid: true, zero: true },
      y: { label: yTitle, grid: true, domain: [Math.max(0, lowest - margin), Math.min(most, highest + margin)] },
      color: { range: ['#4269d0', '#8a8a8a', '#ff725c'] },
      marks: [
        Plot.line(
          points.filter(({ series }) => series === 'pruned'),
          { x: 'x', y: 'y', stroke: 'series', sort: 'x' },
        ),
        Plot.ruleX(points, {
          x: 'x',
          y1: 'low',
          y2: 'high',
          stroke: 'series',
        }),
        Plot.dot(points, { x: 'x', y: 'y', fill: 'series', r: 4 }),
        Plot.text(points, { x: 'x', y: 'y', text: 'label', dx: 8, textAnchor: 'start' }),
      ],
    });
    return plot.outerHTML;
  });
  const total = panels.length * width + (panels.length - 1) * gap;
  const placed = drawn.map((svg, i) => svg.replace('<svg', `<svg x="${i * (width + gap)}"`));
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${total}" height="${height}" viewBox="0 0 ${total} ${height}" font-family="system-ui, sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n${placed.join('\n')}\n</svg>\n`;
}

/** What draws charts. @throws UserError E_PLOT with the command that installs it */
export async function loadDrawing() {
  try {
    const [Plot, { parseHTML }] = await Promise.all([import('@observablehq/plot'), import('linkedom')]);
    return { Plot, document: parseHTML('<html><body></body></html>').document };
  } catch (error) {
    throw new UserError(
      'E_PLOT',
      `Charts are drawn by @observablehq/plot, which is not usable here: ${messageOf(error)}.`,
      {
        fix: 'Install it: npm install @observablehq/plot linkedom',
        cause: error,
      },
    );
  }
}
