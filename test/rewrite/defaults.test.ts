import { expect, test } from 'vitest';
import { valueInfo } from '../../src/onnx/index.ts';
import { sealDefaults } from '../../src/rewrite/defaults.ts';
import { couplingOf, netOf, outputsOf, sizes } from '../prune/nets.ts';

const net = (irVersion: number) => {
  const model = netOf((g, x) => g.conv(g.conv(x, 3, 5, { name: 'a' }), 5, 2), { irVersion, opset: 9 });
  if (irVersion < 4) return model;
  const listed = model.graph.initializers.map(({ name, dataType, dims }) => valueInfo(name, dataType, dims));
  return { ...model, graph: { ...model.graph, inputs: [...model.graph.inputs, ...listed] } };
};

test('weights that a caller could replace become constants, which can be cut', async () => {
  const model = net(8);
  const sealed = sealDefaults(model);
  expect(sizes(couplingOf(model))).toEqual({});
  expect(sizes(couplingOf(sealed))).toEqual({ 'a.weight': 5 });
  expect(sealed.graph.inputs.map(({ name }) => name)).toEqual(['X']);
  expect(await outputsOf(sealed)).toEqual(await outputsOf(model));
});

test('up to IR version 3, and without such weights, nothing changes', () => {
  for (const model of [net(3), sealDefaults(net(8))]) expect(sealDefaults(model)).toBe(model);
});
