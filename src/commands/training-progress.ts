import { UserError } from '../util/errors.ts';
import type { CommandEvent, Progress } from './command.ts';

/** @throws UserError E_OPTION (usage) for what only a resumed run may leave out */
export function needed<T>(value: T | undefined, what: string, example: string): T {
  if (value !== undefined) return value;
  throw new UserError('E_OPTION', `${what} is missing.`, { fix: `For example: ${example}.`, usage: true });
}

/** A training run's events on the screen. */
export function trainingProgress(event: CommandEvent): Progress | string | undefined {
  const share = (value: unknown) => `${(100 * Number(value)).toFixed(1)} %`;
  if (event.type === 'step') {
    const losses = (['L', 'G'] as const)
      .filter(name => event[name] !== undefined)
      .map(name => `${name} ${Number(event[name]).toFixed(3)}`);
    const ratio = event.ratio === undefined ? [] : [`cost ${share(event.ratio)}`];
    const speed = `${Math.round(Number(event.imagesPerSecond))} images/s`;
    return {
      label: String(event.phase),
      done: Number(event.step),
      total: Number(event.steps),
      detail: [...losses, ...ratio, speed].join('  '),
    };
  }
  if (event.type === 'evaluation') {
    const views = (['dense', 'soft', 'hard'] as const)
      .filter(view => event[view] !== undefined)
      .map(view => `${view} ${share(event[view])}`);
    return `step ${event.step}: ${views.join(', ')} on ${event.split} images`;
  }
  return undefined;
}
