/** A tensor's name in the addon: generation and slot number in one integer; 0 and small numbers never name one. */
export type Handle = number;

/** Element types that go in and out of typed arrays. */
export const dtypes = [
  'float32',
  'float64',
  'float16',
  'bfloat16',
  'int8',
  'uint8',
  'int16',
  'int32',
  'int64',
  'bool',
] as const;
export type Dtype = (typeof dtypes)[number];

export type HandleOwner = { readonly handle: Handle };

/** What `native/addon.cc` exports; everything throws an Error with `code`, and `operator` and `argument` where known. */
export interface Native {
  /** Operator number and the types of its results, or null when this libtorch has no such operator. */
  find(name: string): [id: number, ...results: string[]] | null;
  /** Runs an operator; tensors among the results come as handles. */
  call(id: number, ...args: unknown[]): unknown;
  grad(
    outputs: readonly unknown[],
    inputs: readonly unknown[],
    outputsGrad: readonly unknown[] | null,
    retain: boolean,
    create: boolean,
  ): (Handle | null)[];
  /** Switches recording for autograd; returns whether it was on. */
  gradMode(on: boolean): boolean;
  setRequiresGrad(tensor: unknown, on: boolean): void;
  /** Enters or leaves an autocast region; returns the dtype that was in force. */
  autocast(cuda: boolean, dtype: string | null, entering: boolean): string | null;
  create(data: ArrayBufferView, shape: readonly number[], dtype: string, device: string): Handle;
  write(tensor: unknown, data: ArrayBufferView, dtype: string): void;
  read(tensor: unknown): ArrayBufferView;
  shape(tensor: unknown): number[];
  dtype(tensor: unknown): Dtype;
  device(tensor: unknown): string;
  requiresGrad(tensor: unknown): boolean;
  item(tensor: unknown): number | boolean;
  free(handles: readonly Handle[]): void;
  live(): number;
  version(): string;
  gpus(): number;
  threads(): number;
  setThreads(count: number): void;
  seed(seed: number): void;
}
