import { describe, expect, test } from 'vitest';
import { buildGraph } from '../../src/graph/graph.ts';
import { changeNode, encodeModel, type OnnxModel, parseModel, withName } from '../../src/onnx/index.ts';
import { changeMessage } from '../../src/onnx/visit.ts';
import { join } from '../../src/onnx/wire.ts';
import { operators } from '../../src/ops/index.ts';
import { cutModel } from '../../src/prune/cut.ts';
import { type Coupling, coupleGraph } from '../../src/prune/groups.ts';
import { UserError } from '../../src/util/errors.ts';
import { type Random, stream } from '../../src/util/random.ts';
import { buildNetwork } from '../../src/zoo/index.ts';
import { conformanceModels, couplingOf, encoded, everySecond, smallNet } from './support.ts';

const zoo = ['lenet5', 'resnet8', 'wrn-16-1', 'resnet18'].map((name): [string, OnnxModel] => [
  name,
  buildNetwork(name, { channels: 3, size: [32, 32], classes: 10, seed: 1, initialise: false }),
]);
const conformance = conformanceModels();

/** All channels of every group. */
const all = ({ groups }: Coupling) => groups.map(({ size }) => Array.from({ length: size }, (_, i) => i));

describe('a cut with nothing to cut is the file, byte for byte', () => {
  test.each(zoo)('%s', (_, model) => {
    const bytes = encoded(model);
    const read = parseModel(bytes);
    const coupling = couplingOf(read);
    expect(coupling.groups.length).toBeGreaterThan(0);
    const cut = cutModel(coupling, all(coupling));
    expect(Buffer.compare(join(encodeModel(cut)), bytes)).toBe(0);
    // Also where nothing is known to be the very same object any more.
    expect(Buffer.compare(join(encodeModel({ ...cut, graph: { ...cut.graph } })), bytes)).toBe(0);
  });

  test('every model of the ONNX project', () => {
    const refused: string[] = [];
    for (const [name, bytes] of conformance) {
      const read = parseModel(bytes);
      let coupling: Coupling;
      try {
        coupling = coupleGraph(buildGraph(read, operators));
      } catch (error) {
        if (!(error instanceof UserError)) throw error;
        refused.push(`${name}: ${error.message}`);
        continue;
      }
      const cut = cutModel(coupling, all(coupling));
      expect([name, Buffer.compare(join(encodeModel(cut)), bytes)]).toEqual([name, 0]);
    }
    expect(refused).toEqual([]);
  });
});

/** Every value under another name, nodes too; symbols of axes stay. */
function renamed(model: OnnxModel): { model: OnnxModel; nameOf: (name: string) => string } {
  const { graph } = model;
  const nameOf = (name: string) => (name ? `v${Buffer.from(name).toString('hex')}` : '');
  const info = <T extends { name: string }>(value: T): T =>
    changeMessage(value, { name: nameOf(value.name) } as Partial<T>);
  return {
    nameOf,
    model: {
      ...model,
      graph: {
        ...graph,
        nodes: graph.nodes.map((node, i) =>
          changeNode(node, { name: `node ${i}`, input: node.input.map(nameOf), output: node.output.map(nameOf) }),
        ),
        initializers: graph.initializers.map(tensor => withName(tensor, nameOf(tensor.name))),
        inputs: graph.inputs.map(info),
        outputs: graph.outputs.map(info),
        valueInfo: graph.valueInfo.map(info),
      },
    },
  };
}

/** Nodes and initializers in another order. */
function shuffled(model: OnnxModel, random: Random): OnnxModel {
  const { graph } = model;
  const inAnyOrder = <T>(list: readonly T[]): T[] => {
    const left = [...list];
    return Array.from(list, () => left.splice(random.int(left.length), 1)[0]);
  };
  return {
    ...model,
    graph: { ...graph, nodes: inAnyOrder(graph.nodes), initializers: inAnyOrder(graph.initializers) },
  };
}

/** What is coupled, in an order that does not depend on the file's. */
const described = ({ groups, walled }: Coupling, nameOf: (name: string) => string = name => name) =>
  [...groups, ...walled]
    .map(({ size, members }) => ({
      size,
      members: members.map(({ value, axis, multiplicity }) => `${nameOf(value)} ${axis} ${multiplicity}`).sort(),
    }))
    .sort((a, b) => (a.members.join() < b.members.join() ? -1 : 1));

/** Shapes of the initializers, of those that the file had with their names. */
function lengths(cut: OnnxModel, { graph }: OnnxModel, nameOf: (name: string) => string = name => name): string[] {
  const known = new Set(graph.initializers.map(({ name }) => name));
  return cut.graph.initializers.map(({ name, dims }) => `${known.has(name) ? nameOf(name) : 'new'} ${dims}`).sort();
}

const hasSubgraphs = (model: OnnxModel) =>
  model.graph.nodes.some(node => node.attribute.some(a => a.g ?? a.graphs.length));

describe('names and orders change nothing', () => {
  const models = [
    ...zoo,
    ['small', smallNet()] as [string, OnnxModel],
    ...conformance
      .map(([name, bytes]) => [name, parseModel(bytes)] as [string, OnnxModel])
      .filter(([, model]) => !hasSubgraphs(model)),
  ];

  test('of groups and cuts', () => {
    for (const [name, model] of models) {
      const before = couplingOf(model);
      const { model: other, nameOf } = renamed(model);
      const after = couplingOf(other);
      expect([name, described(after)]).toEqual([name, described(before, nameOf)]);
      const [cut, otherCut] = [cutModel(before, everySecond(before)), cutModel(after, everySecond(after))];
      expect([name, lengths(otherCut, other)]).toEqual([name, lengths(cut, model, nameOf)]);
    }
  });

  test('nodes and initializers in any order', () => {
    for (const [name, model] of models) {
      const before = couplingOf(model);
      const after = couplingOf(shuffled(model, stream(1, 'order', name)));
      expect([name, described(after)]).toEqual([name, described(before)]);
      expect([name, lengths(cutModel(after, everySecond(after)), model)]).toEqual([
        name,
        lengths(cutModel(before, everySecond(before)), model),
      ]);
    }
  });
});
