/**
 * What operator records may ask of the tensor engine. `torch/` implements it; nothing here loads libtorch.
 */

/** A tensor of the engine: opaque but for its shape. */
export interface Tensor {
  readonly shape: readonly number[];
}

/** What can be passed to a libtorch operator; converted by the operator's schema. `null` is an absent optional. */
export type Arg = Tensor | number | bigint | boolean | string | null | undefined | readonly Arg[];

/** libtorch operators by name, looked up once and cached. */
export interface Engine {
  /**
   * An operator with one tensor as result, as libtorch names it: `op('convolution')`, `op('add.Tensor')`, `op('relu_')`.
   * Trailing arguments that are left out take the schema's default.
   * @throws UserError E_NO_OPERATOR when the libtorch in use has no such operator
   */
  op(name: string): (...args: Arg[]) => Tensor;
  /** The same for an operator with several results: `ops('native_batch_norm')`. */
  ops(name: string): (...args: Arg[]) => Tensor[];
  /** Whether the libtorch in use has the operator. */
  has(name: string): boolean;
  /** A constant on the engine's device. `data` is copied; element type by array type (Float32Array -> float32, BigInt64Array -> int64, ...). */
  tensor(data: TypedArray, shape: readonly number[]): Tensor;
  /** Let go of tensors at once, before the scope ends; what autograd needs of them lives on. */
  free(...tensors: readonly Tensor[]): void;
}

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | BigInt64Array;
