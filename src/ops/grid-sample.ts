import { unknown } from '../graph/axes.ts';
import { operator, shapeVector } from '../graph/operator.ts';
import { untrainable } from './families/untrainable.ts';

/** libtorch's numbers; opset 16 called the modes otherwise. */
const modes: Readonly<Record<string, number>> = { linear: 0, bilinear: 0, nearest: 1, cubic: 2, bicubic: 2 };
const paddings: Readonly<Record<string, number>> = { zeros: 0, border: 1, reflection: 2 };

/** Samples at the places of a grid. https://onnx.ai/onnx/operators/onnx__GridSample.html (16, 20, 22) */
export const GridSample = operator('GridSample', {
  shape(n) {
    const [batch, channels] = n.shape(0);
    return [{ elemType: n.type(0).elemType, shape: [batch, channels, ...n.shape(1).slice(1, -1)] }];
  },
  couple: () => 'N C *, N * -> N C *',
  zero: () => 'zero',
  forward(n, engine) {
    const mode = modes[n.string('mode', 'linear')];
    const padding = paddings[n.string('padding_mode', 'zeros')];
    if (n.shape(0).length > 5 || (n.shape(0).length === 5 && mode === 2)) {
      throw untrainable(n, 'libtorch samples volumes linearly only');
    }
    const corners = n.int('align_corners', 0) === 1;
    const sample = engine.op('grid_sampler');
    return ([x, grid]) => sample(x, grid, mode, padding, corners);
  },
});

/** A grid of an affine map for every image. https://onnx.ai/onnx/operators/onnx__AffineGrid.html (20) */
export const AffineGrid = operator('AffineGrid', {
  roles: { 1: shapeVector },
  shape(n) {
    const [batch, , ...spatial] = n.constant(1)?.values ?? unknown();
    return [{ elemType: n.type(0).elemType, shape: [batch, ...spatial, spatial.length] }];
  },
  couple(n, r) {
    r.same(n.axis(0, 0), n.outputAxis(0, 0));
    const walls = [...[1, 2].map(axis => n.axis(0, axis)), ...n.outputShape(0).map((_, axis) => n.outputAxis(0, axis))];
    for (const ref of walls) r.wall(ref, `AffineGrid '${n.name}' makes places of it`);
    return undefined;
  },
  forward(n, engine) {
    const size = n.constantInts(1) ?? unknown();
    const corners = n.int('align_corners', 0) === 1;
    const grid = engine.op('affine_grid_generator');
    return ([theta]) => grid(theta, size, corners);
  },
});
