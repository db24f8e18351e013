import { UserError } from '../util/errors.ts';

/** As the addon throws it. */
type Refused = Error & { code?: string; operator?: string; argument?: string };

/** What libtorch or the addon refused: a bug in the calling code, unlike a {@link UserError}. */
export class TorchError extends Error {
  /** E_ARGUMENT, E_STALE_TENSOR or E_ENGINE (libtorch's own complaint). */
  readonly code: string;
  /** The operator as it was asked for (`add.Tensor`), where one was running. */
  readonly operator?: string;
  /** The argument, by the schema's name, that was refused before libtorch ran. */
  readonly argument?: string;

  constructor(cause: Refused) {
    super(cause.message, { cause });
    this.name = 'TorchError';
    this.code = cause.code ?? 'E_ENGINE';
    this.operator = cause.operator;
    this.argument = cause.argument;
  }
}

/** The error to throw for what the addon threw: memory is the user's to give, the rest is a bug. */
export function torchError(error: unknown): unknown {
  if (!(error instanceof Error) || !('code' in error) || error instanceof UserError) return error;
  if (error.code === 'E_OUT_OF_MEMORY') {
    return new UserError('E_OUT_OF_MEMORY', `There was not enough memory: ${error.message}.`, {
      fix: 'Use a smaller batch, or a machine with more memory.',
      cause: error,
    });
  }
  return typeof error.code === 'string' && error.code.startsWith('E_') ? new TorchError(error as Refused) : error;
}
