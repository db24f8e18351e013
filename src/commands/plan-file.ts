import { readFileSync } from 'node:fs';
import type { Graph } from '../graph/graph.ts';
import { type PlannedCut, plannedCut } from '../prune/plan.ts';
import { messageOf, UserError } from '../util/errors.ts';

/** What a plan file keeps of a graph, and the groups that it speaks of. @throws UserError E_NOT_FOUND, E_PLAN */
export const readPlanFile = (path: string, graph: Graph): PlannedCut => plannedCut(readJson(path), graph, path);

function readJson(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new UserError('E_NOT_FOUND', `The plan cannot be read: ${messageOf(error)}.`, { where: path, cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UserError('E_PLAN', `The plan is not JSON: ${messageOf(error)}.`, { where: path, cause: error });
  }
}
