import type { Arg, Engine, Tensor as EngineTensor, TypedArray } from '../graph/engine.ts';
import { UserError } from '../util/errors.ts';
import { torchError } from './errors.ts';
import type { Dtype, Handle, Native } from './native.ts';
import { createMemory, type Memory, type Tensor } from './tensor.ts';

/** Where the libtorch in use was found. */
export interface LibtorchOrigin {
  /** Folder that holds it: `torch` of a wheel, an unzipped libtorch, or `/usr`. */
  readonly root: string;
  readonly kind: 'LIBTORCH' | 'python' | 'cache' | 'system';
}

export interface GradOptions {
  /** Keep the graph for another backward pass; default false. */
  readonly retain?: boolean;
  /** Record the backward pass itself, for derivatives of derivatives; default false. */
  readonly create?: boolean;
  /** Gradient of each output; left out for scalars. */
  readonly outputsGrad?: readonly (EngineTensor | null)[];
}

/**
 * libtorch as the training code sees it. Operators go through {@link Engine}; what is not an operator is here.
 * Every call may throw TorchError (wrong use) or UserError E_OUT_OF_MEMORY.
 */
export interface Torch extends Engine {
  /** Of libtorch, `2.13.0`. */
  readonly version: string;
  /** Where new tensors are made: `cpu` or `cuda`. */
  readonly device: 'cpu' | 'cuda';
  /** Threads that an operator may use on the CPU. */
  readonly threads: number;
  readonly libtorch: LibtorchOrigin;

  op(name: string): (...args: Arg[]) => Tensor;
  /** Results in the schema's order, lists of tensors spread; an undefined result is null. */
  ops(name: string): (...args: Arg[]) => Tensor[];
  /** An operator whose result is no tensor: `value('equal')(a, b)`, `value('stride.int')(t, 0)`. */
  value(name: string): (...args: Arg[]) => unknown;
  /** As in {@link Engine}; `dtype` for arrays that could be several: Uint16Array float16 (default) or bfloat16, Uint8Array uint8 (default) or bool. */
  tensor(data: TypedArray, shape: readonly number[], dtype?: Dtype): Tensor;
  zeros(shape: readonly number[], dtype?: Dtype): Tensor;
  /** The tensor with another element type or on another device; itself where nothing changes. */
  to(tensor: EngineTensor, target: Dtype | 'cpu' | 'cuda'): Tensor;
  /** In channels_last order when it has four axes, else the tensor itself. */
  channelsLast(tensor: EngineTensor): Tensor;

  /**
   * Runs `run`, then frees every tensor made inside that is not kept and not in the result (looked for in arrays, maps
   * and plain objects). Those in the result belong to the enclosing scope. Synchronous functions only.
   */
  scope<T>(run: () => T): T;
  /** Takes a tensor out of all scopes: it lives until `free`. */
  keep<T extends EngineTensor>(tensor: T): T;
  free(...tensors: readonly EngineTensor[]): void;
  /** Tensors that are not freed, in the whole process. */
  liveTensors(): number;

  /** d outputs / d inputs, null for an input that the outputs do not depend on. */
  grad(
    outputs: EngineTensor | readonly EngineTensor[],
    inputs: readonly EngineTensor[],
    options?: GradOptions,
  ): (Tensor | null)[];
  noGrad<T>(run: () => T): T;
  /** The same data without history. */
  detach(tensor: EngineTensor): Tensor;
  /** Makes a leaf a variable of gradients, or not; returns it. */
  requiresGrad<T extends EngineTensor>(tensor: T, on?: boolean): T;
  /** Convolutions and products inside run in the 16-bit type; null switches that off. Synchronous functions only. */
  autocast<T>(dtype: 'bfloat16' | 'float16' | null, run: () => T): T;

  /** Elements in row-major order as float32, whatever the element type. */
  values(tensor: EngineTensor): Float32Array;
  /** Elements of an integer or bool tensor, in row-major order. */
  ints(tensor: EngineTensor): number[];
  /** Elements in the tensor's own type; 16-bit floats as their bits, bool as 0 and 1. */
  read(tensor: EngineTensor): TypedArray;
  /** The only element as a number (bool as 0 and 1). */
  item(tensor: EngineTensor): number;
  /** Copies data in, in place, converted to the tensor's type; as many elements as the tensor has. */
  write(tensor: EngineTensor, data: TypedArray, dtype?: Dtype): void;

  /** Seeds libtorch's default generators. */
  seed(seed: number): void;
  setThreads(count: number): void;
}

/** Element types by typed array; the first is the default. */
const arrayDtypes = new Map<unknown, readonly Dtype[]>([
  [Float32Array, ['float32']],
  [Float64Array, ['float64']],
  [Int8Array, ['int8']],
  [Uint8Array, ['uint8', 'bool']],
  [Buffer, ['uint8', 'bool']],
  [Int16Array, ['int16']],
  [Uint16Array, ['float16', 'bfloat16']],
  [Int32Array, ['int32']],
  [BigInt64Array, ['int64']],
]);

function dtypeFor(data: TypedArray, dtype?: Dtype): Dtype {
  const known = arrayDtypes.get(data?.constructor);
  if (!known) throw new TypeError(`tensor data must be a typed array of a known type, got ${data?.constructor?.name}`);
  if (dtype && !known.includes(dtype)) throw new TypeError(`${data.constructor.name} cannot hold ${dtype}`);
  return dtype ?? known[0];
}

/** Scopes and handles of one addon; every {@link Torch} over it shares them. */
export interface Binding {
  readonly native: Native;
  readonly memory: Memory;
  readonly libtorch: LibtorchOrigin;
}

export function bind(addon: Native, libtorch: LibtorchOrigin): Binding {
  const native = translated(addon);
  return { native, memory: createMemory(native), libtorch };
}

/** The addon with its errors made {@link TorchError} or UserError. */
function translated(native: Native): Native {
  const wrapped: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(native) as [string, (...args: unknown[]) => unknown][]) {
    wrapped[name] = (...args: unknown[]) => {
      try {
        return entry(...args);
      } catch (error) {
        throw torchError(error);
      }
    };
  }
  return wrapped as unknown as Native;
}

/** The engine on one device. */
export function createTorch({ native, memory, libtorch }: Binding, device: 'cpu' | 'cuda'): Torch {
  const own = memory.own;
  const single = new Map<string, (...args: Arg[]) => Tensor>();
  const several = new Map<string, (...args: Arg[]) => Tensor[]>();

  function find(name: string): [id: number, ...results: string[]] {
    const found = native.find(name);
    if (found) return found;
    throw new UserError('E_NO_OPERATOR', `libtorch ${native.version()} has no operator '${name}'.`, {
      where: libtorch.root,
      fix: 'Use libtorch 2.13: without LIBTORCH, and outside Python environments with an older torch, it is set up.',
    });
  }

  function op(name: string): (...args: Arg[]) => Tensor {
    const known = single.get(name);
    if (known) return known;
    const [id, ...results] = find(name);
    if (results.length !== 1 || results[0] !== 'Tensor') {
      throw new TypeError(`'${name}' has results (${results.join(', ')}): take ops or value`);
    }
    const run = (...args: Arg[]) => own(native.call(id, ...args) as Handle);
    single.set(name, run);
    return run;
  }

  function ops(name: string): (...args: Arg[]) => Tensor[] {
    const known = several.get(name);
    if (known) return known;
    const [id, ...results] = find(name);
    const strange = results.find(type => type !== 'Tensor' && type !== 'Tensor[]');
    if (strange) throw new TypeError(`'${name}' has a result of type ${strange}: take value`);
    const wrap = (handle: Handle | null) => (handle === null ? (null as unknown as Tensor) : own(handle));
    const run = (...args: Arg[]) => [native.call(id, ...args) as Handle].flat(2).map(wrap);
    several.set(name, run);
    return run;
  }

  function value(name: string): (...args: Arg[]) => unknown {
    const [id, ...results] = find(name);
    if (results.some(type => type.includes('Tensor'))) throw new TypeError(`'${name}' has tensors as results: take op`);
    return (...args) => native.call(id, ...args);
  }

  function recording<T>(on: boolean, run: () => T): T {
    const before = native.gradMode(on);
    try {
      return synchronous('noGrad', run());
    } finally {
      native.gradMode(before);
    }
  }

  function autocast<T>(dtype: 'bfloat16' | 'float16' | null, run: () => T): T {
    const cuda = device === 'cuda';
    const before = native.autocast(cuda, dtype, true);
    try {
      return synchronous('autocast', run());
    } finally {
      native.autocast(cuda, before, false);
    }
  }

  function read(tensor: EngineTensor, dtype?: Dtype): TypedArray {
    if (!dtype || native.dtype(tensor) === dtype) return native.read(tensor) as TypedArray;
    return memory.scope(() => native.read(recording(false, () => torch.to(tensor, dtype))) as TypedArray);
  }

  function ints(tensor: EngineTensor): number[] {
    const dtype = native.dtype(tensor);
    if (/float/.test(dtype)) throw new TypeError(`ints needs an integer or bool tensor, not ${dtype}`);
    return Array.from(read(tensor) as ArrayLike<number | bigint>, Number);
  }

  const torch: Torch = {
    version: native.version(),
    device,
    libtorch,
    get threads() {
      return native.threads();
    },
    op,
    ops,
    value,
    has: name => native.find(name) !== null,
    tensor: (data, shape, dtype) => own(native.create(data, shape, dtypeFor(data, dtype), device)),
    zeros: (shape, dtype = 'float32') => op('zeros')(shape, dtype, null, device),
    to: (tensor, target) =>
      target === 'cpu' || target === 'cuda'
        ? op('to.dtype_layout')(tensor, null, null, target)
        : op('to.dtype_layout')(tensor, target),
    channelsLast: tensor =>
      native.shape(tensor).length === 4 ? op('contiguous')(tensor, 'channels_last') : (tensor as Tensor),
    scope: memory.scope,
    keep: tensor => {
      (tensor as unknown as Tensor).kept = true;
      return tensor;
    },
    free: (...tensors) => memory.free(tensors as readonly Tensor[]),
    liveTensors: () => native.live(),
    grad: (outputs, inputs, { retain = false, create = false, outputsGrad } = {}) =>
      native
        .grad(Array.isArray(outputs) ? outputs : [outputs], inputs, outputsGrad ?? null, retain, create)
        .map(handle => (handle === null ? null : own(handle))),
    noGrad: run => recording(false, run),
    detach: tensor => op('detach')(tensor),
    requiresGrad: (tensor, on = true) => {
      native.setRequiresGrad(tensor, on);
      return tensor;
    },
    autocast,
    values: tensor => read(tensor, 'float32') as Float32Array,
    ints,
    read,
    item: tensor => Number(native.item(tensor)),
    write: (tensor, data, dtype) => native.write(tensor, data, dtypeFor(data, dtype)),
    seed: seed => native.seed(seed),
    setThreads: count => native.setThreads(count),
  };
  return torch;
}

/** Thread-local switches are off again when the function returns, so what follows an await would not see them. */
function synchronous<T>(name: string, result: T): T {
  if (result instanceof Promise) throw new TypeError(`${name} takes a synchronous function`);
  return result;
}
