import type { Tensor } from '../graph/engine.ts';
import type { Torch } from '../torch/index.ts';

/** What an objective compares outputs with. */
export interface Target {
  /** [N] class indices; null when there are no labels. */
  readonly labels: Tensor | null;
  /** Outputs of the original network on the same images, worked out when they are read; null when there is no original. */
  readonly teacher: readonly Tensor[] | null;
}

/** What a network is trained for. No method knows the task (docs/architecture.md). */
export interface Objective {
  readonly name: string;
  /** L, a scalar. */
  loss(outputs: readonly Tensor[], target: Target): Tensor;
  /** G, a scalar: how far the student is from the teacher (teacher first), of outputs divided by a temperature, 1 by default. */
  gap(teacher: readonly Tensor[], student: readonly Tensor[], temperature?: number): Tensor;
  /** How many of a batch are right, for the curve of a run. */
  score(outputs: readonly Tensor[], target: Target): number;
  /** Whether batches need the original network's outputs. */
  readonly needsTeacher: boolean;
}

/** Cross entropy with labels; KL divergence of the softmax outputs at temperature 1, batch mean (docs/method.md, Routes). */
export function classification(torch: Torch): Objective {
  const crossEntropy = torch.op('cross_entropy_loss');
  const divide = torch.op('div.Scalar');
  return {
    name: 'classification',
    needsTeacher: false,
    loss: ([logits], { labels }) => crossEntropy(logits, labels),
    gap: ([teacher], [student], temperature = 1) =>
      temperature === 1
        ? divergence(torch, teacher, student)
        : divergence(torch, divide(teacher, temperature), divide(student, temperature)),
    score: ([logits], { labels }) => correct(torch, logits, labels!),
  };
}

/**
 * Imitate the original file's outputs, whatever the task: squared error over the variance of what is imitated, so that
 * the scale of the outputs does not matter; several outputs count the same.
 */
export function match(torch: Torch): Objective {
  const mse = torch.op('mse_loss');
  const variance = torch.op('var');
  const divide = torch.op('div.Tensor');
  const add = torch.op('add.Tensor');
  const error = (of: readonly Tensor[], to: readonly Tensor[]) =>
    of
      .map((output, i) => divide(mse(output, to[i]), torch.op('add.Scalar')(variance(torch.detach(to[i])), 1e-6)))
      .reduce((sum, term) => add(sum, term));
  return {
    name: 'match',
    needsTeacher: true,
    loss: (outputs, { teacher }) => error(outputs, teacher!),
    gap: (teacher, student) => error(student, teacher),
    score: ([output], { teacher }) => correct(torch, output, torch.op('argmax')(teacher![0], -1)),
  };
}

/** KL(a || b) of softmax outputs, mean over the batch. */
function divergence(torch: Torch, a: Tensor, b: Tensor): Tensor {
  const logSoftmax = torch.op('log_softmax.int');
  const la = logSoftmax(a, 1);
  const lb = logSoftmax(b, 1);
  // reduction 2 sums; kl_div takes the second distribution first.
  return torch.op('div.Scalar')(torch.op('kl_div')(lb, la, 2, true), a.shape[0]);
}

function correct(torch: Torch, logits: Tensor, labels: Tensor): number {
  return torch.noGrad(() => torch.item(torch.op('sum')(torch.op('eq.Tensor')(torch.op('argmax')(logits, -1), labels))));
}
