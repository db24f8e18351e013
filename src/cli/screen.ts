import type { Progress } from '../commands/command.ts';
import { bytes, duration } from '../util/format.ts';
import { printable } from '../util/printable.ts';

/** Where progress is written: a terminal's line is drawn over, anything else gets plain lines now and then. */
export interface ScreenOutput {
  write(text: string): void;
  readonly isTerminal: boolean;
  readonly columns: number;
  /** Milliseconds. */
  now(): number;
}

export interface Screen {
  /** How far the work is; drawn at most ten times a second on a terminal, every ten seconds elsewhere. */
  progress(state: Progress): void;
  /** A line that stays. */
  line(text: string): void;
  /** Takes the progress line away. */
  clear(): void;
}

const redrawMs = { terminal: 100, plain: 10_000 };
/** The rate is that of the last half minute, so that it follows a machine that slows down. */
const windowMs = 30_000;

export function createScreen(output: ScreenOutput): Screen {
  const erase = '\r\x1b[2K';
  let shown = false;
  let last = Number.NEGATIVE_INFINITY;
  let label = '';
  let history: { at: number; done: number }[] = [];

  const clear = () => {
    if (shown) output.write(erase);
    shown = false;
  };
  return {
    clear,
    line(text) {
      clear();
      output.write(`${text}\n`);
    },
    progress(state) {
      const at = output.now();
      if (state.label !== label || state.done < (history.at(-1)?.done ?? 0)) {
        history = [];
        last = Number.NEGATIVE_INFINITY;
        label = state.label;
      }
      history.push({ at, done: state.done });
      while (history.length > 2 && at - history[0].at > windowMs) history.shift();
      const finished = state.total !== null && state.done >= state.total;
      const wait = output.isTerminal ? redrawMs.terminal : redrawMs.plain;
      if (at - last < wait && !finished) return;
      last = at;
      const text = printable(progressText(state, rate(history)));
      if (!output.isTerminal) output.write(`${text}\n`);
      else output.write(`${erase}${text.slice(0, Math.max(output.columns - 1, 20))}`);
      shown = output.isTerminal;
    },
  };
}

/** Units of work a second; undefined until two states are known. */
function rate(history: readonly { at: number; done: number }[]): number | undefined {
  const first = history[0];
  const last = history[history.length - 1];
  const perSecond = ((last.done - first.done) / (last.at - first.at)) * 1000;
  return Number.isFinite(perSecond) && perSecond > 0 ? perSecond : undefined;
}

function progressText({ label, done, total, unit, detail }: Progress, perSecond: number | undefined): string {
  const amount = (value: number) => (unit === 'bytes' ? bytes(value) : String(value));
  const units = unit === undefined || unit === 'bytes' ? '' : ` ${unit}`;
  if (total === null) return [`${label} ${amount(done)}${units}`, detail].filter(Boolean).join('  ');
  const percent = `${total > 0 ? Math.floor((100 * done) / total) : 0} %`;
  const left = done < total && perSecond !== undefined ? `${duration((total - done) / perSecond)} left` : '';
  return [`${label} ${amount(done)}/${amount(total)}${units}`, percent, left, detail].filter(Boolean).join('  ');
}
