// Calls operators and entry points with arguments of every wrong kind. Whatever is thrown must be an Error; the process
// must live. Prints how many calls were made and how many were refused.
import fc from 'fast-check';
import type { Arg } from '../../../src/graph/engine.ts';
import { openEngine, type Torch } from '../../../src/torch/index.ts';

const seed = Number(process.env.S2H_TEST_SEED);
const torch = await openEngine({ threads: 1, setup: false });
const freed = torch.zeros([2]);
torch.free(freed);

const tensors = [
  torch.zeros([2, 3]),
  torch.zeros([1, 4, 5, 5]),
  torch.zeros([]),
  torch.zeros([0, 3]),
  torch.zeros([3], 'int64'),
  torch.zeros([4], 'bool'),
  torch.zeros([2, 2], 'bfloat16'),
  torch.requiresGrad(torch.zeros([4, 4, 3, 3])),
  freed,
];
const odd: unknown[] = [
  ...[
    null,
    undefined,
    true,
    false,
    '',
    'float32',
    'cuda',
    'nowhere',
    Symbol('s'),
    () => 1,
    {},
    { handle: 5 },
    { handle: {} },
  ],
  ...[{ handle: 2 ** 24 + 2 ** 20 }, { handle: -1 }, { handle: Number.NaN }, new Float32Array(3), 10n, 2n ** 70n, -0],
  ...[
    0,
    1,
    -1,
    1.5,
    2 ** 31,
    2 ** 53,
    1e300,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    [],
    [0],
    [1, 1],
    [-1],
    [2 ** 40, 2 ** 40],
  ],
  ...[
    [null],
    ['a'],
    [[1]],
    [Number.NaN],
    new Proxy(
      {},
      {
        get: () => {
          throw new Error('from a getter');
        },
      },
    ),
  ],
];
const anything: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...odd) },
  { weight: 4, arbitrary: fc.constantFrom(...tensors, tensors, tensors.slice(0, 2)) },
  { weight: 3, arbitrary: fc.constantFrom<unknown>(0, 1, 2, -1, 0.5, true, [1, 1], [0, 1], [2, 3], [-1], null) },
);

const operators = (
  'add.Tensor add.Scalar mul.Tensor div.Tensor sub_.Tensor relu relu_ sigmoid gelu exp clamp softmax.int log_softmax.int ' +
  'convolution conv2d conv_transpose2d.input batch_norm native_batch_norm layer_norm group_norm linear mm matmul addmm bmm ' +
  'cross_entropy_loss kl_div nll_loss max_pool2d avg_pool2d adaptive_avg_pool2d mean.dim sum sum.dim_IntList max.dim ' +
  'reshape view permute transpose.int flatten.using_ints squeeze.dim unsqueeze slice.Tensor split.Tensor cat stack pad ' +
  'index_select index_copy_ index.Tensor gather embedding zeros ones full arange to.dtype_layout contiguous clone detach ' +
  'copy_ fill_.Scalar where.self topk sort upsample_nearest2d.vec einsum _foreach_add_.List _foreach_mul_.Scalar dropout ' +
  'as_strided expand repeat roll flip cumsum prelu one_hot rsqrt pow.Tensor_Scalar'
)
  .split(' ')
  .filter(name => torch.has(name));

const entries: (keyof Torch)[] = [
  ...([
    'tensor',
    'zeros',
    'to',
    'channelsLast',
    'free',
    'grad',
    'detach',
    'requiresGrad',
    'values',
    'ints',
    'read',
  ] as const),
  ...(['item', 'write', 'seed', 'setThreads', 'autocast', 'op', 'ops', 'value', 'has', 'noGrad'] as const),
];

let calls = 0;
let refused = 0;
function attempt(run: () => unknown): void {
  calls++;
  try {
    torch.scope(run);
  } catch (error) {
    refused++;
    if (!(error instanceof Error)) throw new Error('something was thrown that is no Error');
  }
}

fc.assert(
  fc.property(fc.constantFrom(...operators), fc.array(anything, { maxLength: 11 }), (name, args) => {
    attempt(() => torch.ops(name)(...(args as Arg[])));
  }),
  { numRuns: 6000, seed },
);
fc.assert(
  fc.property(fc.constantFrom(...entries), fc.array(anything, { maxLength: 5 }), (name, args) => {
    // Freeing the tensors of this test would only make it weaker.
    if (name === 'free' && args.some(arg => tensors.includes(arg as never) || Array.isArray(arg))) return;
    attempt(() => (torch[name] as (...args: unknown[]) => unknown)(...args));
  }),
  { numRuns: 6000, seed },
);
attempt(() => torch.op('relu')(...(Array(100).fill(tensors[0]) as Arg[])));
torch.setThreads(1);
const sum = torch.item(torch.op('sum')(torch.op('add.Scalar')(torch.zeros([2, 3]), 1)));
process.stdout.write(`${JSON.stringify({ calls, refused, sum })}\n`);
