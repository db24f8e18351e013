import type { Coupling, Group } from '../groups.ts';

/** One score per channel of a group; larger is kept longer. */
export type Importance = (group: Group, context: ImportanceContext) => Float64Array;

export interface ImportanceContext {
  readonly coupling: Coupling;
  /** The current values of a constant of the file; good until the next call. */
  values(name: string): Float32Array;
  readonly seed: number;
}
