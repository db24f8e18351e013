/** What a {@link UserError} says besides its sentence. */
export interface UserErrorDetail {
  /** File, node, tensor or option that is meant. */
  readonly where?: string;
  /** What to do about it. */
  readonly fix?: string;
  /** Wrong usage (exit status 2) rather than a failure (exit status 1). */
  readonly usage?: boolean;
  readonly cause?: unknown;
}

/**
 * A mistake or a condition that the user can act on; anything else that is thrown is a bug.
 * `code` is stable and machine readable (`E_BUDGET_UNREACHABLE`), `message` is one paragraph: what, where, what to do.
 */
export class UserError extends Error {
  readonly code: string;
  readonly what: string;
  readonly where?: string;
  readonly fix?: string;
  /** Process exit status: 2 for wrong usage, 1 for a failure. */
  readonly exitCode: 1 | 2;

  constructor(code: string, what: string, detail: UserErrorDetail = {}) {
    const place = detail.where && !what.includes(detail.where) && `(${detail.where})`;
    super([what, place, detail.fix].filter(Boolean).join(' '), { cause: detail.cause });
    this.name = 'UserError';
    this.code = code;
    this.what = what;
    this.where = detail.where;
    this.fix = detail.fix;
    this.exitCode = detail.usage ? 2 : 1;
  }
}

/** The message of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
