import { stripVTControlCharacters } from 'node:util';

/** Between a number and its unit, so that `40.8 M` and `40.8 %` look alike. */
const space = ' ';
const unknown = 'unknown';

/** A share as a percentage: `percent(0.1234)` is `12.3 %`. */
export const percent = (share: number, digits = 1): string =>
  Number.isFinite(share) ? `${(share * 100).toFixed(digits)}${space}%` : unknown;

/** How many of something: `1 group`, `3 groups`. */
export const amount = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;

/** A count (MACs, parameters) with three significant digits: `40.8 M`, `1.82 G`, `999`. */
export const count = (value: number): string => scaled(value, 1000, ['', 'k', 'M', 'G', 'T', 'P']);

/** A size with three significant digits and decimal prefixes, as disks and downloads are sold: `1.07 MB`. */
export const bytes = (value: number): string => scaled(value, 1000, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);

function scaled(value: number, base: number, units: readonly string[]): string {
  if (!Number.isFinite(value)) return unknown;
  let size = Math.abs(value);
  let unit = 0;
  // 999.5 would round to 1000 in the smaller unit
  while (unit < units.length - 1 && (unit === 0 ? Math.round(size) : Number(size.toPrecision(3))) >= base) {
    size /= base;
    unit++;
  }
  const digits = unit === 0 ? (Number.isInteger(size) ? size.toFixed(0) : threeDigits(size)) : threeDigits(size);
  return `${value < 0 ? '-' : ''}${digits}${units[unit] ? space : ''}${units[unit]}`;
}

/** Three significant digits without an exponent: 0.123, 1.23, 12.3, 123. */
function threeDigits(value: number): string {
  const rounded = Number(value.toPrecision(3));
  if (rounded === 0) return '0';
  return rounded.toFixed(Math.max(0, 2 - Math.floor(Math.log10(rounded))));
}

/** A length of time: `12.3 ms`, `8.2 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return unknown;
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds < 0.9995) return milliseconds(seconds * 1000);
  if (seconds < 59.95) return `${seconds.toFixed(1)}${space}s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}${space}min ${whole % 60}${space}s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}${space}h ${minutes % 60}${space}min`;
  const hours = Math.round(seconds / 3600);
  return `${Math.floor(hours / 24)}${space}d ${hours % 24}${space}h`;
}

/** Milliseconds with three significant digits: `0.123 ms`, `12.3 ms`, `1230 ms`. */
export const milliseconds = (value: number): string =>
  Number.isFinite(value) ? `${threeDigits(value)}${space}ms` : unknown;

/** A share and its interval: `within(0.9341, [0.9288, 0.939])` is `93.41 % (92.88 to 93.90)`. */
export const within = (share: number, [low, high]: readonly [number, number]): string =>
  `${percent(share, 2)} (${(low * 100).toFixed(2)} to ${(high * 100).toFixed(2)})`;

export type Align = 'left' | 'right';

export interface TableFormat {
  /** Per column; the first is left and the others right by default. */
  readonly align?: readonly Align[];
  /** `text` (default): columns two spaces apart with a rule below the head. `markdown`: a GitHub table. */
  readonly style?: 'text' | 'markdown';
}

/**
 * Lines of a table for a terminal or a markdown page.
 * @param rows the first one is the head; short rows are filled with empty cells. Colours do not count as width.
 */
export function table(rows: readonly (readonly string[])[], format: TableFormat = {}): string {
  const markdown = format.style === 'markdown';
  const columns = Math.max(0, ...rows.map(row => row.length));
  if (columns === 0) return '';
  const align = Array.from({ length: columns }, (_, i) => format.align?.[i] ?? (i === 0 ? 'left' : 'right'));
  const cells = rows.map(row => align.map((_, i) => (markdown ? escapeCell(row[i] ?? '') : (row[i] ?? ''))));
  const widths = align.map((_, i) => Math.max(3, ...cells.map(row => width(row[i]))));
  const line = (row: readonly string[]) => {
    const padded = row.map((cell, i) => pad(cell, widths[i], align[i]));
    return markdown ? `| ${padded.join(' | ')} |` : padded.join('  ').trimEnd();
  };
  const rule = align.map((side, i) =>
    markdown ? (side === 'right' ? `${'-'.repeat(widths[i] - 1)}:` : '-'.repeat(widths[i])) : '─'.repeat(widths[i]),
  );
  const [head, ...body] = cells;
  return [head, rule, ...body].map(line).join('\n');
}

const width = (text: string): number => [...stripVTControlCharacters(text)].length;
const escapeCell = (text: string): string => text.replaceAll('|', '\\|').replace(/\s*\n\s*/g, ' ');

function pad(text: string, to: number, side: Align): string {
  const fill = ' '.repeat(Math.max(0, to - width(text)));
  return side === 'left' ? text + fill : fill + text;
}
