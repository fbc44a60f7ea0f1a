import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { invalidOption } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'

/** What is to run once a commit is certain. */
export type AfterCommit = () => unknown

export interface AfterCommitPorts {
  readonly app: string
  readonly logger: Logger
  /** The context of units; none runs them. */
  readonly ambient: { run(unit: undefined, work: () => Promise<void>): Promise<void> }
  /** Counts them as a unit in progress. */
  readonly units: { run(unit: undefined, work: () => Promise<void>): Promise<void> }
}

export function checkAfterCommit(work: unknown): asserts work is AfterCommit {
  if (typeof work !== 'function')
    throw invalidOption('afterCommit()', `expected a function, got ${typeof work}`)
}

/** The function `afterCommit` where there is no unit. */
export function afterCommitNowhere(): never {
  const text = 'afterCommit(): no transaction of this app is open; call it in app.transaction()'
  throw new MersalError('MERSAL_NO_TRANSACTION', text)
}

/**
 * Begins all of them at once, outside of any unit. Nobody waits for them but a stop, which counts
 * them as a unit in progress.
 */
export function runAfterCommit(
  { app, logger, ambient, units }: AfterCommitPorts,
  works: readonly AfterCommit[],
): void {
  if (works.length === 0) return
  const begin = async (work: AfterCommit): Promise<void> => {
    try {
      await work()
    } catch (error) {
      logger.error({ app, ...errorFields(error) }, 'a function of afterCommit() failed')
    }
  }
  const all = async (): Promise<void> => {
    await Promise.all(works.map((work) => ambient.run(undefined, () => begin(work))))
  }
  void units.run(undefined, all)
}
