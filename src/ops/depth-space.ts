import { known } from '../graph/axes.ts';
import { type NodeView, operator, type Relations } from '../graph/operator.ts';

const size = (n: NodeView): number => n.int('blocksize', 1);

/** Rows and columns are dealt out among channels: both keep their lengths. */
function wallSpace(n: NodeView, r: Relations): void {
  r.same(n.axis(0, 0), n.outputAxis(0, 0));
  for (const axis of [2, 3]) {
    for (const ref of [n.axis(0, axis), n.outputAxis(0, axis)]) r.wall(ref, `${n.opType} '${n.name}' regroups it`);
  }
}

const isColumnFirst = (n: NodeView): boolean => n.string('mode', 'DCR') === 'CRD';

/** Blocks of channels to blocks of pixels. https://onnx.ai/onnx/operators/onnx__DepthToSpace.html (1, 11, 13) */
export const DepthToSpace = operator('DepthToSpace', {
  shape(n) {
    const [batch, channels, height, width] = n.shape(0);
    const b = size(n);
    const grown = [height, width].map((dim, i) => (typeof dim === 'number' ? dim * b : `${n.outputs[0]}_${i + 2}`));
    return [{ elemType: n.type(0).elemType, shape: [batch, known(channels) / b ** 2, ...grown] }];
  },
  couple(n, r) {
    const block = size(n) ** 2;
    const channels = known(n.outputShape(0)[1]);
    wallSpace(n, r);
    r.map(n.axis(0, 1), n.outputAxis(0, 1), i => (isColumnFirst(n) ? Math.floor(i / block) : i % channels));
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const b = size(n);
    const shuffle = engine.op('pixel_shuffle');
    if (isColumnFirst(n)) return ([x]) => shuffle(x, b);
    const [reshape, permute] = ['reshape', 'permute'].map(name => engine.op(name));
    return ([x]) => {
      const [batch, channels, height, width] = x!.shape;
      const blocks = reshape(x, [batch, b, b, channels / b ** 2, height, width]);
      return reshape(permute(blocks, [0, 3, 4, 1, 5, 2]), [batch, channels / b ** 2, height * b, width * b]);
    };
  },
});

/** Blocks of pixels to blocks of channels. https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html (1, 13, 28: `mode`) */
export const SpaceToDepth = operator('SpaceToDepth', {
  shape(n) {
    const [batch, channels, height, width] = n.shape(0);
    const b = size(n);
    const shrunk = [height, width].map((dim, i) => (typeof dim === 'number' ? dim / b : `${n.outputs[0]}_${i + 2}`));
    return [{ elemType: n.type(0).elemType, shape: [batch, known(channels) * b ** 2, ...shrunk] }];
  },
  couple(n, r) {
    const channels = known(n.shape(0)[1]);
    wallSpace(n, r);
    const block = size(n) ** 2;
    r.map(n.outputAxis(0, 1), n.axis(0, 1), o => (isColumnFirst(n) ? Math.floor(o / block) : o % channels));
    return undefined;
  },
  zero: () => 'zero',
  forward(n, engine) {
    const b = size(n);
    const [reshape, permute] = ['reshape', 'permute'].map(name => engine.op(name));
    return ([x]) => {
      const [batch, channels, height, width] = x!.shape;
      const blocks = reshape(x, [batch, channels, height / b, b, width / b, b]);
      const order = isColumnFirst(n) ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
      return reshape(permute(blocks, order), [batch, channels * b ** 2, height / b, width / b]);
    };
  },
});
