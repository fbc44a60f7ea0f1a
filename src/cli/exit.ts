/** Exit codes, as documented in docs/cli.md. */
export const exitCodes = {
  ok: 0,
  /** Something went wrong; standard error says what. */
  failed: 1,
  /** The command line is not as it must be. */
  usage: 2,
  /** A check was made, and its answer is no. */
  checkSaysNo: 3,
} as const

/** The command line is wrong. The text says what to do. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The command cannot be carried out, for a reason that the text tells in full. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
}
