import { beforeAll, describe, expect, test } from 'vitest';
import type { TypedArray } from '../../src/graph/engine.ts';
import { type Dtype, openEngine, type Tensor, type Torch, TorchError } from '../../src/torch/index.ts';
import { UserError } from '../../src/util/errors.ts';

let torch: Torch;
beforeAll(async () => {
  torch = await openEngine({ threads: 1 });
});

/** Extremes of each type, with the float32 that each element stands for. */
const samples: [Dtype, TypedArray, number[]][] = [
  [
    'float32',
    new Float32Array([0, -1.5, 3.4028234663852886e38, Number.NaN]),
    [0, -1.5, 3.4028234663852886e38, Number.NaN],
  ],
  ['float64', new Float64Array([0, -1.5, 1e-300, 0.1]), [0, -1.5, 0, Math.fround(0.1)]],
  // Bits of IEEE 754 binary16: 1, -2, the largest finite value, the smallest subnormal.
  ['float16', new Uint16Array([0x3c00, 0xc000, 0x7bff, 0x0001]), [1, -2, 65504, 2 ** -24]],
  // The upper half of a float32's bits: 1, -2, the nearest to pi, infinity.
  ['bfloat16', new Uint16Array([0x3f80, 0xc000, 0x4049, 0x7f80]), [1, -2, 3.140625, Number.POSITIVE_INFINITY]],
  ['int8', new Int8Array([-128, -1, 0, 127]), [-128, -1, 0, 127]],
  ['uint8', new Uint8Array([0, 1, 128, 255]), [0, 1, 128, 255]],
  ['int16', new Int16Array([-32768, -1, 0, 32767]), [-32768, -1, 0, 32767]],
  ['int32', new Int32Array([-(2 ** 31), -1, 0, 2 ** 24]), [-(2 ** 31), -1, 0, 2 ** 24]],
  ['int64', new BigInt64Array([-(2n ** 40n), -1n, 0n, 2n ** 62n]), [-(2 ** 40), -1, 0, 2 ** 62]],
  ['bool', new Uint8Array([0, 1, 1, 0]), [0, 1, 1, 0]],
];

describe.each(samples)('%s', (dtype, data, asFloats) => {
  test('comes out as it went in', () => {
    torch.scope(() => {
      const x = torch.tensor(data, [2, 2], dtype);
      expect(x.dtype).toBe(dtype);
      expect(x.shape).toEqual([2, 2]);
      expect(torch.read(x)).toEqual(data);
    });
  });

  test('comes out in row-major order when it is transposed', () => {
    torch.scope(() => {
      const order = [0, 2, 1, 3];
      const transposed = torch.op('t')(torch.tensor(data, [2, 2], dtype));
      expect(Array.from(torch.read(transposed) as Int8Array)).toEqual(order.map(i => data[i]));
    });
  });

  test('has the float32 values of its elements', () => {
    torch.scope(() => expect(Array.from(torch.values(torch.tensor(data, [4], dtype)))).toEqual(asFloats));
  });

  test('is written in place', () => {
    torch.scope(() => {
      const x = torch.zeros([4], dtype);
      torch.write(x, data, dtype);
      expect(torch.read(x)).toEqual(data);
    });
  });

  test('takes no more and no fewer elements than its shape has', () => {
    for (const shape of [[3], [5], [2, 3], [0], [2 ** 40, 2 ** 40]]) {
      expect(() => torch.tensor(data, shape, dtype)).toThrow(/cannot fill/);
    }
    torch.scope(() => expect(() => torch.write(torch.zeros([3], dtype), data, dtype)).toThrow(/cannot fill/));
  });
});

describe('data', () => {
  test('is copied: later changes of the array do not reach the tensor', () => {
    torch.scope(() => {
      const data = new Float32Array([1, 2]);
      const x = torch.tensor(data, [2]);
      data[0] = 9;
      expect([...torch.values(x)]).toEqual([1, 2]);
    });
  });

  test('may be part of a larger buffer, or empty, or a single number', () => {
    torch.scope(() => {
      expect([...torch.values(torch.tensor(new Float32Array([1, 2, 3, 4]).subarray(1, 3), [2]))]).toEqual([2, 3]);
      expect(torch.tensor(new Float32Array(0), [0, 3]).shape).toEqual([0, 3]);
      expect(torch.read(torch.zeros([0]))).toEqual(new Float32Array(0));
      expect(torch.item(torch.tensor(new Float32Array([7]), []))).toBe(7);
    });
  });

  test('any byte but 0 is true in a bool tensor', () => {
    torch.scope(() => expect(torch.ints(torch.tensor(new Uint8Array([0, 2, 255]), [3], 'bool'))).toEqual([0, 1, 1]));
  });

  test('is converted when it is written into another type, and does not disturb autograd', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.zeros([2]));
      torch.write(x, new Int32Array([3, 4]));
      expect([...torch.values(x)]).toEqual([3, 4]);
      expect(x.requiresGrad).toBe(true);
    });
  });

  test('ints reads integers and refuses floats', () => {
    torch.scope(() => {
      expect(torch.ints(torch.tensor(new BigInt64Array([5n, -6n]), [2]))).toEqual([5, -6]);
      expect(() => torch.ints(torch.zeros([1]))).toThrow(TypeError);
    });
  });

  test('an array type that cannot be the dtype is refused', () => {
    expect(() => torch.tensor(new Float32Array(1), [1], 'int32')).toThrow('Float32Array cannot hold int32');
    expect(() => torch.tensor([1] as unknown as Float32Array, [1])).toThrow(TypeError);
  });
});

describe('scope', () => {
  const made = () => torch.zeros([1]);

  test('frees what was made inside and not returned', () => {
    const before = torch.liveTensors();
    const kept = torch.scope(() => {
      made();
      torch.op('add.Tensor')(made(), made());
      return made();
    });
    expect(torch.liveTensors()).toBe(before + 1);
    expect(torch.item(kept)).toBe(0);
    torch.free(kept);
    expect(torch.liveTensors()).toBe(before);
  });

  test('finds results in arrays, maps and objects', () => {
    const before = torch.liveTensors();
    const { a, b } = torch.scope(() => ({ a: [made(), [made()]], b: new Map([['c', made()]]) }));
    expect(torch.liveTensors()).toBe(before + 3);
    torch.free(a[0] as Tensor, (a[1] as Tensor[])[0], b.get('c')!);
    expect(torch.liveTensors()).toBe(before);
  });

  test('hands results to the enclosing scope', () => {
    const before = torch.liveTensors();
    torch.scope(() => {
      const inner = torch.scope(made);
      expect(torch.item(inner)).toBe(0);
    });
    expect(torch.liveTensors()).toBe(before);
  });

  test('leaves kept tensors to free', () => {
    const before = torch.liveTensors();
    let x: Tensor | undefined;
    torch.scope(() => torch.scope(() => void (x = torch.keep(made()))));
    expect(torch.item(x!)).toBe(0);
    torch.free(x!);
    expect(torch.liveTensors()).toBe(before);
  });

  test('frees everything when its function throws', () => {
    const before = torch.liveTensors();
    expect(() =>
      torch.scope(() => {
        made();
        throw new Error('out');
      }),
    ).toThrow('out');
    expect(torch.liveTensors()).toBe(before);
  });

  test('refuses an asynchronous function', () => {
    expect(() => torch.scope(async () => made())).toThrow(TypeError);
  });

  test('lets gradients live through the graph when the handles are gone', () => {
    torch.scope(() => {
      const x = torch.requiresGrad(torch.tensor(new Float32Array([3]), [1]));
      const y = torch.scope(() => torch.op('mul.Tensor')(torch.op('square')(x), torch.op('exp')(torch.zeros([1]))));
      expect(torch.item(torch.grad(y, [x])[0]!)).toBe(6);
    });
  });
});

describe('a freed tensor', () => {
  test('cannot be used, also when its slot has a new tensor', () => {
    const x = torch.zeros([1]);
    torch.free(x);
    const y = torch.zeros([1]);
    for (const use of [() => x.shape, () => torch.values(x), () => torch.op('relu')(x), () => torch.grad(x, [x])]) {
      expect(use).toThrow(expect.objectContaining({ name: 'TorchError', code: 'E_STALE_TENSOR' }));
    }
    torch.free(x, x);
    expect(torch.item(y)).toBe(0);
    torch.free(y);
  });

  test('is what dispose leaves', () => {
    const x = torch.zeros([1]);
    x[Symbol.dispose]();
    expect(() => x.shape).toThrow(TorchError);
  });
});

describe('errors', () => {
  const thrown = (run: () => unknown): TorchError => {
    try {
      torch.scope(run);
    } catch (error) {
      return error as TorchError;
    }
    throw new Error('nothing was thrown');
  };

  test('name the operator and the argument that is wrong', () => {
    const error = thrown(() => torch.op('add.Tensor')(torch.zeros([1]), 1.5));
    expect(error).toBeInstanceOf(TorchError);
    expect(error).toMatchObject({ code: 'E_ARGUMENT', operator: 'add.Tensor', argument: 'other' });
    expect(error.message).toBe("add.Tensor, argument 'other': expected a tensor, got a number (1.5)");
  });

  test('of libtorch are its first line, with the operator', () => {
    const error = thrown(() => torch.op('mm')(torch.zeros([2, 3]), torch.zeros([2, 3])));
    expect(error).toMatchObject({ code: 'E_ENGINE', operator: 'mm' });
    expect(error.message).toBe('mm: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)');
  });

  test("of memory are the user's", () => {
    const error = thrown(() => torch.zeros([2 ** 40]));
    expect(error).toBeInstanceOf(UserError);
    expect(error).toMatchObject({ code: 'E_OUT_OF_MEMORY' });
  });

  test('say when libtorch has no such operator', () => {
    expect(torch.has('relu')).toBe(true);
    expect(torch.has('add.Tensor')).toBe(true);
    expect(torch.has('no_such_operator')).toBe(false);
    expect(thrown(() => torch.op('no_such_operator'))).toMatchObject({ code: 'E_NO_OPERATOR' });
  });

  test('say which of op, ops and value an operator is for', () => {
    expect(thrown(() => torch.op('max.dim')).message).toMatch(/take ops/);
    expect(thrown(() => torch.value('relu')).message).toMatch(/take op/);
    torch.scope(() => {
      expect(torch.value('equal')(torch.zeros([2]), torch.zeros([2]))).toBe(true);
      expect(
        torch
          .ops('split.Tensor')(torch.zeros([5]), 2)
          .map(t => t.shape),
      ).toEqual([[2], [2], [1]]);
    });
  });
});

describe('arguments', () => {
  test('that are left out, or undefined, take the default of the schema', () => {
    torch.scope(() => {
      const x = torch.tensor(new Float32Array([1, 2]), [2]);
      expect([...torch.values(torch.op('add.Tensor')(x, x))]).toEqual([2, 4]);
      expect([...torch.values(torch.op('sub.Tensor')(x, x, undefined))]).toEqual([0, 0]);
    });
  });

  test('whole numbers are integers where the schema takes any number', () => {
    torch.scope(() => {
      const x = torch.tensor(new Int32Array([1, 2]), [2]);
      expect(torch.op('mul.Scalar')(x, 3).dtype).toBe('int32');
      expect(torch.op('mul.Scalar')(x, 3.5).dtype).toBe('float32');
      expect(torch.ints(torch.op('add.Scalar')(torch.tensor(new BigInt64Array([1n]), [1]), 2n ** 40n))).toEqual([
        2 ** 40 + 1,
      ]);
    });
  });

  test('lists of optional tensors and single values for int[n] are taken', () => {
    torch.scope(() => {
      const x = torch.tensor(new Float32Array([1, 2, 3, 4]), [2, 2]);
      const columns = torch.tensor(new BigInt64Array([1n]), [1]);
      expect([...torch.values(torch.op('index.Tensor')(x, [null, columns]))]).toEqual([2, 4]);
      expect(torch.op('avg_pool2d')(torch.zeros([1, 1, 4, 4]), 2).shape).toEqual([1, 1, 2, 2]);
    });
  });

  test('dtypes and memory formats go by name', () => {
    torch.scope(() => {
      const x = torch.zeros([1, 2, 3, 4]);
      const strides = (t: Tensor) => [0, 1, 2, 3].map(i => torch.value('stride.int')(t, i));
      expect(strides(x)).toEqual([24, 12, 4, 1]);
      expect(strides(torch.channelsLast(x) as Tensor)).toEqual([24, 1, 8, 2]);
      expect(torch.to(x, 'bfloat16').dtype).toBe('bfloat16');
      expect(torch.channelsLast(torch.zeros([3])).shape).toEqual([3]);
    });
  });
});

describe('the engine', () => {
  test('is the same when it is opened again, with other threads', async () => {
    const again = await openEngine({ threads: 2 });
    expect(again).toBe(torch);
    expect(torch.threads).toBe(2);
    torch.setThreads(1);
    expect((await openEngine()).threads).toBe(1);
    await expect(openEngine({ threads: 0 })).rejects.toMatchObject({ code: 'E_THREADS' });
  });

  test('draws the same numbers after the same seed', () => {
    torch.scope(() => {
      const draw = () => torch.values(torch.op('randn')([4]));
      torch.seed(7);
      const first = draw();
      const second = draw();
      torch.seed(7);
      expect(draw()).toEqual(first);
      expect(second).not.toEqual(first);
    });
  });

  test('autocast multiplies in bfloat16 inside, and in float32 again outside', () => {
    torch.scope(() => {
      const x = torch.op('ones')([2, 2], 'float32');
      const product = () => torch.op('mm')(x, x).dtype;
      expect(torch.autocast('bfloat16', product)).toBe('bfloat16');
      expect(torch.autocast('bfloat16', () => torch.autocast(null, product))).toBe('float32');
      expect(torch.autocast('bfloat16', () => [torch.autocast(null, product), product()])).toEqual([
        'float32',
        'bfloat16',
      ]);
      expect(product()).toBe('float32');
      expect(() =>
        torch.autocast('bfloat16', () => {
          throw new Error('out');
        }),
      ).toThrow('out');
      expect(product()).toBe('float32');
    });
  });

  test('has no CUDA device where libtorch sees none', async () => {
    if (torch.device === 'cuda') return;
    if (torch.version.startsWith('2.13') && torch.libtorch.kind === 'cache') {
      await expect(openEngine({ device: 'cuda' })).rejects.toMatchObject({ code: 'E_NO_CUDA' });
    }
  });
});
