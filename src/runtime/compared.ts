import { isReal } from '../graph/constants.ts';
import type { Graph, GraphNode } from '../graph/graph.ts';
import type { Coupling } from '../prune/groups.ts';
import { type KeptChannels, keptIndices } from '../prune/plan.ts';
import { type Apart, type Choices, choicesOf } from './choices.ts';

/** A value that a cut file has to reproduce. */
export interface ComparedValue {
  readonly name: string;
  /** Along each axis what the cut leaves of the full-width value; null: all of it. */
  readonly indices: readonly (readonly number[] | null)[];
  /** Whether no rounding can change it: integers then have to agree exactly, whatever the file computes with. */
  readonly exact: boolean;
  /** The output that it is a part of; its errors count from a thousandth of that output's scale on. */
  readonly within?: string;
}

/** What is compared of a graph. */
export interface ComparedValues {
  /** Compared from the inputs on. */
  readonly values: readonly ComparedValue[];
  /** Outputs that are behind a choice, for which others of `values` stand. */
  readonly replaced: readonly string[];
  /** What the choices answer, to be given to both files, and what is compared then; null: nothing. */
  readonly behind: Behind | null;
}

export interface Behind {
  readonly given: readonly ComparedValue[];
  readonly values: readonly ComparedValue[];
}

/**
 * The graph's outputs, and the operands of a Concat that one ends with, since they may differ in scale. For those behind a
 * choice (choices.ts) the values that go into it, and whatever else joins it on the way; with the answers of the choices
 * given, also what is behind them, up to the next choice and to the outputs.
 * @param apart at what else it is taken apart as at a choice
 */
export function comparedValues(coupling: Coupling, kept: KeptChannels, apart: Apart = 'choices'): ComparedValues {
  const { graph } = coupling;
  const choices = choicesOf(coupling, kept, apart);
  const chosen = new Set([...choices.nodes].flatMap(node => node.outputs.filter(Boolean)));
  const isBehind = behindChoices(graph, choices);
  const within = new Map<string, string>();
  const [before, after] = [new Set<string>(), new Set<string>()];
  const compare = (value: string): void => {
    if (!isBehind.has(value)) before.add(value);
    else if (!chosen.has(value)) after.add(value);
  };
  const replaced = graph.outputs.filter(output => isBehind.has(output));
  for (const output of graph.outputs) compare(output);
  for (const output of graph.outputs) {
    for (const part of partsOf(graph, output)) {
      if (before.has(part) || after.has(part)) continue;
      compare(part);
      within.set(part, output);
    }
  }
  // Not recursive: there may be any number of nodes behind a choice.
  const waiting = [...replaced];
  const visited = new Set<GraphNode>();
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    const node = graph.producers.get(value)!;
    if (visited.has(node)) continue;
    visited.add(node);
    for (const input of [...node.inputs, ...node.captures]) {
      if (!input || graph.fixed.has(input) || graph.inputs.includes(input)) continue;
      // A length, which the cut may have another node for.
      if (graph.constants.has(input)) continue;
      if (choices.nodes.has(node) || !isBehind.has(input)) compare(input);
      if (isBehind.has(input)) waiting.push(input);
    }
  }
  const indices = keptIndices(coupling, kept);
  const described = (names: Iterable<string>) =>
    [...names].map((name): ComparedValue => {
      const rank = graph.types.get(name)?.shape?.length ?? 0;
      return {
        name,
        indices: Array.from({ length: rank }, (_, axis) => indices({ value: name, axis })),
        exact: !choices.inexact.has(name),
        ...(within.has(name) ? { within: within.get(name) } : {}),
      };
    });
  const given = [...visited].filter(node => choices.nodes.has(node)).flatMap(node => node.outputs.filter(Boolean));
  const behind = after.size > 0 ? { given: described(given), values: described(after) } : null;
  return { values: described(before), replaced, behind };
}

/** Values that a choice answers with, or that depend on one. */
function behindChoices(graph: Graph, { nodes }: Choices): Set<string> {
  const behind = new Set<string>();
  for (const node of graph.nodes) {
    if (!nodes.has(node) && ![...node.inputs, ...node.captures].some(value => behind.has(value))) continue;
    for (const output of node.outputs) if (output) behind.add(output);
  }
  return behind;
}

/** Real operands of the Concat nodes that an output is made of, seen through nodes that only move elements. */
function partsOf(graph: Graph, output: string): string[] {
  const parts = new Set<string>();
  const waiting = [output];
  for (let value = waiting.pop(); value !== undefined; value = waiting.pop()) {
    const node = graph.producers.get(value);
    if (!node || graph.fixed.has(value) || node.domain !== '') continue;
    if (node.opType === 'Concat') {
      for (const operand of node.inputs) {
        const isComputed = graph.producers.has(operand) && !graph.fixed.has(operand);
        if (!isComputed || parts.has(operand) || !isReal(graph.types.get(operand)?.elemType ?? 0)) continue;
        parts.add(operand);
        waiting.push(operand);
      }
    } else if (node.operator?.moves || node.opType === 'Identity' || node.opType === 'Cast')
      waiting.push(node.inputs[0]);
  }
  return [...parts];
}
