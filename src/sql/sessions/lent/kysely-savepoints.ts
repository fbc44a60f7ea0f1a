import { type Method, wrapped } from './lent.ts'

/** What Kysely calls a command: nothing is sent before `execute`. */
interface Command {
  execute(): Promise<unknown>
}

/** Commands that make a transaction with a state of its own. */
const MAKES = ['savepoint', 'rollbackToSavepoint', 'releaseSavepoint']
const SENDS = ['executeQuery', 'stream', 'provideConnection']
const DERIVES = [
  'withConnectionProvider',
  'withPlugin',
  'withPlugins',
  'withPluginAtFront',
  'withoutPlugins',
]

/**
 * Kysely below 0.29.9 lets a savepoint of a controlled transaction go on when the transaction has
 * ended: its connection may serve somebody else by then. `assertOpen` throws once that is so.
 */
export function guardSavepoints(transaction: object, assertOpen: () => void): void {
  guardCommands(transaction, MAKES, assertOpen)
}

function guardCommands(
  transaction: object,
  names: readonly string[],
  assertOpen: () => void,
): void {
  const guarded =
    (method: Method): Method =>
    (...given): Command => ({
      async execute() {
        assertOpen()
        const made = await (Reflect.apply(method, transaction, given) as Command).execute()
        if (typeof made === 'object' && made !== null) guardMade(made, assertOpen)
        return made
      },
    })
  wrapped(transaction, names, guarded)
}

function guardMade(transaction: object, assertOpen: () => void): void {
  guardCommands(transaction, [...MAKES, 'commit', 'rollback'], assertOpen)
  guardExecutor((transaction as { getExecutor(): object }).getExecutor(), assertOpen)
}

/** Query builders keep the executor, and so do those that are derived from it. */
function guardExecutor(executor: object, assertOpen: () => void): object {
  wrapped(executor, SENDS, (method) => (...given) => {
    assertOpen()
    return Reflect.apply(method, executor, given) as unknown
  })
  wrapped(executor, DERIVES, (method) => (...given) => {
    return guardExecutor(Reflect.apply(method, executor, given) as object, assertOpen)
  })
  return executor
}
