import type { OnnxGraph } from './model.ts';
import { NodeMessage } from './node-message.ts';
import type { SourceFile, WireField } from './wire.ts';

/** Field numbers of ModelProto. */
export const modelField = { irVersion: 1, graph: 7, opset: 8, metadata: 14, training: 20, function: 25 } as const;

/** Field numbers of GraphProto. */
export const graphField = {
  node: 1,
  name: 2,
  initializer: 5,
  input: 11,
  output: 12,
  valueInfo: 13,
  sparseInitializer: 15,
} as const;

/** What `readModel` saw, kept so that everything untouched can be written back as it was. */
export interface ModelOrigin {
  readonly file: SourceFile;
  /** All fields of the file. */
  readonly fields: readonly WireField[];
  readonly irVersion: number;
  readonly opsets: ReadonlyMap<string, number>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly functions: ReadonlySet<string>;
  readonly graph: OnnxGraph;
}

const origins = new WeakMap<object, WireField>();

/** Ties an object to the field that it was read from. */
export function remember<T extends object>(object: T, field: WireField): T {
  origins.set(object, field);
  return object;
}

/** The field that this very object was read from. */
export const originOf = (object: object): WireField | undefined => NodeMessage.fieldOf(object) ?? origins.get(object);

/** Freezes a message through and through, so that a change in place fails instead of being lost when it is written. */
export function freeze<T extends object>(message: T): T {
  Object.freeze(message);
  for (const value of Object.values(message)) {
    if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) freeze(value);
  }
  return message;
}
