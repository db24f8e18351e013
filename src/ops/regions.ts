import { type NodeView, operator, type Relations } from '../graph/operator.ts';

/** Channel by channel: regions of the images, whose places are the other inputs. */
function couple(n: NodeView, r: Relations): undefined {
  r.same(n.axis(0, 1), n.outputAxis(0, 1));
  for (const input of n.inputs.keys()) if (input > 0) r.same(n.axis(input, 0), n.outputAxis(0, 0));
  const walls = [n.axis(0, 0), n.axis(0, 2), n.axis(0, 3), n.axis(1, 1), n.outputAxis(0, 2), n.outputAxis(0, 3)];
  for (const ref of walls) r.wall(ref, `${n.opType} '${n.name}' cuts regions out of it`);
}

/** https://onnx.ai/onnx/operators/onnx__RoiAlign.html (10, 16, 22) */
export const RoiAlign = operator('RoiAlign', {
  shape(n) {
    const size = [n.int('output_height', 1), n.int('output_width', 1)];
    return [{ elemType: n.type(0).elemType, shape: [n.shape(1)[0], n.shape(0)[1], ...size] }];
  },
  couple,
  zero: () => 'zero',
});

/** https://onnx.ai/onnx/operators/onnx__MaxRoiPool.html (1, 22) */
export const MaxRoiPool = operator('MaxRoiPool', {
  shape(n) {
    const size = n.ints('pooled_shape') ?? [];
    return [{ elemType: n.type(0).elemType, shape: [n.shape(1)[0], n.shape(0)[1], ...size] }];
  },
  couple,
  zero: () => 'zero',
});
