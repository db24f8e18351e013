import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { isReal } from '../../src/graph/constants.ts';
import { buildGraph, type Graph } from '../../src/graph/graph.ts';
import { DataType, isInteger, type OnnxModel } from '../../src/onnx/index.ts';
import { TensorProtoSchema } from '../../src/onnx/onnx_pb.ts';
import { parseModel } from '../../src/onnx/read.ts';
import { elementCount, type OnnxTensor, tensorFromProto } from '../../src/onnx/tensor.ts';
import { operators } from '../../src/ops/index.ts';
import { rolesOf } from '../../src/prune/groups.ts';
import type { Torch } from '../../src/torch/index.ts';
import { compile } from '../../src/train/program.ts';
import { UserError } from '../../src/util/errors.ts';
import { type Case, distance, engineTensor, numbersOf, withConstants } from './cases.ts';

/** Allowed |found - expected| / (1 + |expected|), which ONNX Runtime meets too. */
const tolerance = 1e-3;

export type Check = 'shape' | 'value' | 'forward';

/** What came of a check: what is not compared says why. */
export type Outcome = 'passed' | { readonly failed: string } | { readonly left: string };

const left = (why: string): Outcome => ({ left: why });

const isSmall = (one: Case) => one.inputs.every(tensor => !tensor || elementCount(tensor) <= 64);

/** The record of a node; undefined: there is none, or it is a function of the file. */
const recordOf = ({ functions }: OnnxModel, { domain, opType }: { domain: string; opType: string }) => {
  const key = `${domain === 'ai.onnx' ? '' : domain}::${opType}`;
  return functions.has(key) ? undefined : operators.get(key);
};

const records = ({ model }: Case) => model.graph.nodes.map(node => recordOf(model, node));

/** Inputs that have to be constants for a rule to know the output's shape: indices, pads, bounds, target shapes. */
export function settings(one: Case): (input: number) => boolean {
  const graph = buildGraph(
    withConstants(one, () => false),
    operators,
  );
  const needed = new Set<string>();
  for (const node of graph.nodes) {
    for (const [input, role] of Object.entries(rolesOf(node))) {
      if (role.kind === 'shape') needed.add(node.inputs[Number(input)]);
    }
    const known = ['AffineGrid', 'CenterCropPad', 'Clip', 'Col2Im', 'DFT', 'Dropout', 'MaxUnpool', 'MelWeightMatrix'];
    const isSettled = [...known, 'Pad', 'STFT', 'Trilu', 'TopK'].includes(node.opType);
    if (isSettled) for (const name of node.inputs.slice(1)) needed.add(name);
    if (/Window$|^Range$|^MelWeightMatrix$/.test(node.opType)) for (const name of node.inputs) needed.add(name);
  }
  return input => needed.has(one.model.graph.inputs[input].name);
}

/** Run a check on one case. @param torch for `forward` */
export function checkCase(check: Check, one: Case, torch: Torch | null): Outcome {
  if (records(one).includes(undefined)) return left('an operator has no record');
  if (one.outputs.some((tensor, i) => !tensor && one.model.graph.outputs[i]?.name))
    return left('an output is no tensor');
  try {
    if (check === 'shape') return checkShape(one);
    if (check === 'value') return checkValue(one);
    return torch ? checkForward(one, torch) : left('no libtorch');
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  }
}

const isComputed = (tensor: OnnxTensor | null): boolean =>
  !tensor || isReal(tensor.dataType) || isInteger(tensor.dataType);

/** Why neither values nor a forward pass are compared. */
function uncomputed(one: Case): string | null {
  if (![...one.inputs, ...one.outputs].every(isComputed)) return 'text, complex numbers and numbers below 16 bits';
  if (/batchnorm_\w+_training_mode|training_dropout/.test(one.name)) return 'the file is in training mode';
  return null;
}

function checkShape(one: Case): Outcome {
  const graph = buildGraph(withConstants(one, settings(one)), operators);
  for (const [i, name] of graph.outputs.entries()) {
    const expected = one.outputs[i];
    if (!expected) continue;
    const found = graph.types.get(name);
    if (!found?.shape) return left('its rank depends on the data, or on what the file declares');
    const isType = found.elemType === expected.dataType;
    const fits =
      found.shape.length === expected.dims.length &&
      found.shape.every((dim, axis) => typeof dim === 'string' || dim === expected.dims[axis]);
    if (!isType || !fits) {
      return {
        failed: `'${name}' is type ${found.elemType} [${found.shape}], not type ${expected.dataType} [${expected.dims}]`,
      };
    }
    if (found.shape.some(dim => typeof dim === 'string')) return left('its lengths depend on the data');
  }
  return 'passed';
}

function checkValue(one: Case): Outcome {
  const reason = uncomputed(one);
  if (reason) return left(reason);
  if (!records(one).every(record => record?.type === 'Constant' || record?.evaluate))
    return left('the operator is only run: no arithmetic on shapes needs it');
  if (!isSmall(one)) return left('more than 64 real numbers are not computed with');
  const graph = buildGraph(
    withConstants(one, () => true),
    operators,
  );
  for (const [i, name] of graph.outputs.entries()) {
    const expected = one.outputs[i];
    const found = graph.constants.get(name);
    if (!expected) continue;
    if (!found) return left('this form of it is only run');
    if (found.elemType !== expected.dataType || found.dims.join() !== expected.dims.join())
      return { failed: `'${name}' is type ${found.elemType} [${found.dims}]` };
    const error = distance(found.values as number[], numbersOf(expected));
    if (!(error < tolerance)) return { failed: `'${name}' is off by ${error}` };
  }
  return 'passed';
}

function checkForward(one: Case, torch: Torch): Outcome {
  if (!records(one).every(record => record?.type === 'Constant' || record?.forward)) return left('it is not trained');
  const reason = uncomputed(one);
  if (reason) return left(reason);
  // The engine has integers of 64 bits.
  const isWide = [...one.inputs, ...one.outputs].every(tensor => !tensor || tensor.dataType === DataType.INT64);
  if (!isWide && records(one).some(record => /^Bit(Shift|wiseNot)$/.test(record!.type)))
    return left('the bits of smaller integers');
  const isSetting = settings(one);
  const graph = buildGraph(withConstants(one, isSetting), operators);
  if (graph.outputs.some(name => graph.constants.has(name) || graph.tensors.has(name)))
    return left('a constant or shape: nothing is run');
  return run(one, graph, torch, isSetting);
}

function run(one: Case, graph: Graph, torch: Torch, isSetting: (input: number) => boolean): Outcome {
  return torch.scope((): Outcome => {
    let program: ReturnType<typeof compile>;
    try {
      program = compile(graph, torch, graph.outputs, []);
    } catch (error) {
      if (error instanceof UserError && error.code === 'E_NO_FORWARD') return left('this form of it is refused');
      throw error;
    }
    const inputs = one.inputs.flatMap((tensor, i) => (tensor && !isSetting(i) ? [engineTensor(torch, tensor)] : []));
    for (const [i, found] of program.run(inputs, [], { training: false }).entries()) {
      const expected = one.outputs[i];
      if (!expected) continue;
      if (found.shape.join() !== expected.dims.join()) return { failed: `[${found.shape}], not [${expected.dims}]` };
      const error = distance(torch.values(found), numbersOf(expected));
      // What is expected in bfloat16 was rounded on the way too.
      const allowed = expected.dataType === DataType.BFLOAT16 ? 10 * tolerance : tolerance;
      if (!(error < allowed)) return { failed: `output ${i} is off by ${error}` };
    }
    return 'passed';
  });
}

/** Cases of a folder: `<set>/<case>/model.onnx` with `test_data_set_<n>/input_<i>.pb` and `output_<i>.pb`. */
export function* casesIn(folder: string): Generator<Case> {
  for (const set of folders(folder)) {
    for (const name of folders(join(folder, set))) {
      const path = join(folder, set, name);
      if (!existsSync(join(path, 'model.onnx'))) continue;
      const model = parseModel(bytesIn(join(path, 'model.onnx')));
      const sets = folders(path).filter(entry => entry.startsWith('test_data_set_'));
      for (const [i, data] of sets.entries()) {
        const read = (kind: string, count: number) =>
          Array.from({ length: count }, (_, at) => tensorIn(join(path, data, `${kind}_${at}.pb`)));
        const called = `${set}/${name.replace(/^test_/, '')}${i ? `/${i}` : ''}`;
        const { inputs, outputs } = model.graph;
        yield { name: called, model, inputs: read('input', inputs.length), outputs: read('output', outputs.length) };
      }
    }
  }
}

const folders = (path: string): string[] =>
  readdirSync(path, { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => entry.name)
    .sort();

/** Not a Buffer, whose slices are no copies. */
const bytesIn = (path: string): Uint8Array => new Uint8Array(readFileSync(path));

/** A message of a tensor; null where there is none, or it is a sequence or an optional value. */
function tensorIn(path: string): OnnxTensor | null {
  if (!existsSync(path)) return null;
  try {
    const proto = fromBinary(TensorProtoSchema, bytesIn(path));
    return proto.dataType === 0 ? null : tensorFromProto(proto);
  } catch {
    return null;
  }
}
