import type { Tensor as EngineTensor } from '../graph/engine.ts';
import type { Dtype, Handle, Native } from './native.ts';

/**
 * A tensor of libtorch, named by a slot of the addon. It lives until the scope it was made in ends, or until
 * `free` or `dispose`; using it afterwards throws E_STALE_TENSOR.
 */
export class Tensor implements EngineTensor {
  /** Read by the addon; of no other use. */
  readonly handle: Handle;
  /** Whether no scope may free it. */
  kept = false;
  readonly #native: Native;

  constructor(native: Native, handle: Handle) {
    this.#native = native;
    this.handle = handle;
  }

  /** Asked anew each time, since operators such as `resize_` change it. */
  get shape(): number[] {
    return this.#native.shape(this);
  }

  get dtype(): Dtype {
    return this.#native.dtype(this);
  }

  /** `cpu` or `cuda:0`. */
  get device(): string {
    return this.#native.device(this);
  }

  /** Whether gradients flow to it. */
  get requiresGrad(): boolean {
    return this.#native.requiresGrad(this);
  }

  [Symbol.dispose](): void {
    this.#native.free([this.handle]);
    forget(this);
  }
}

// Finalizers do not run inside a synchronous loop, so they only report what was never freed, and only when asked.
const leaks =
  process.env.S2H_DEBUG_LEAKS === '1'
    ? new FinalizationRegistry<string>(madeAt => {
        process.emitWarning(`A tensor was never freed. It was made ${madeAt}`, 'TensorLeak');
      })
    : undefined;

function watch(tensor: Tensor): void {
  leaks?.register(tensor, new Error('here').stack?.split('\n').slice(3, 9).join('\n') ?? 'somewhere', tensor);
}

/** Tells the leak report that a tensor was freed. */
function forget(tensor: Tensor): void {
  leaks?.unregister(tensor);
}

/** Who frees which tensor: a stack of scopes, shared by everything in the process that makes tensors. */
export interface Memory {
  /** The tensor of a new handle, owned by the innermost scope. */
  own(handle: Handle): Tensor;
  /** Runs `run` and frees the tensors made inside that are neither kept nor part of the result. */
  scope<T>(run: () => T): T;
  free(tensors: readonly Tensor[]): void;
}

export function createMemory(native: Native): Memory {
  const scopes: Tensor[][] = [];

  function free(tensors: readonly Tensor[]): void {
    native.free(tensors.map(tensor => tensor.handle));
    if (leaks) for (const tensor of tensors) forget(tensor);
  }

  function close(made: readonly Tensor[], escaping: ReadonlySet<unknown>): void {
    const parent = scopes.at(-1);
    const dead: Tensor[] = [];
    for (const tensor of made) {
      if (tensor.kept) continue;
      if (!escaping.has(tensor)) dead.push(tensor);
      else parent?.push(tensor);
    }
    free(dead);
  }

  return {
    own(handle) {
      const tensor = new Tensor(native, handle);
      scopes.at(-1)?.push(tensor);
      if (leaks) watch(tensor);
      return tensor;
    },
    scope(run) {
      const made: Tensor[] = [];
      let escaping: ReadonlySet<unknown> = new Set();
      scopes.push(made);
      try {
        const result = run();
        if (result instanceof Promise) throw new TypeError('scope takes a synchronous function');
        escaping = tensorsIn(result);
        return result;
      } finally {
        scopes.pop();
        close(made, escaping);
      }
    },
    free,
  };
}

/** The tensors in arrays, maps and plain objects, however deep. */
function tensorsIn(value: unknown, found = new Set<unknown>()): ReadonlySet<unknown> {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || found.has(value)) return found;
  found.add(value);
  if (value instanceof Tensor) return found;
  const parts =
    Array.isArray(value) || value instanceof Map ? value.values() : isPlain(value) ? Object.values(value) : [];
  for (const part of parts) tensorsIn(part, found);
  return found;
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
