import { type Method, wrapped } from './lent.ts'

/** What Kysely calls a command: nothing is sent before `execute`. */
interface Command {
  execute(): Promise<unknown>
}

/** Each of these makes a transaction, whose state says nothing of the end of the first one. */
const COMMANDS = ['savepoint', 'rollbackToSavepoint', 'releaseSavepoint']
const COPIES = [
  'withPlugin',
  'withoutPlugins',
  'withSchema',
  'withTables',
  '$extendTables',
  '$omitTables',
  '$pickTables',
]
const SENDS = ['executeQuery', 'stream', 'provideConnection']
const EXECUTORS = [
  'withConnectionProvider',
  'withPlugin',
  'withPlugins',
  'withPluginAtFront',
  'withoutPlugins',
]

/**
 * Kysely below 0.29.9 lets a savepoint, or a copy, of a controlled transaction go on when the
 * transaction has ended: its connection may serve somebody else by then. `assertOpen` throws once
 * that is so.
 */
export function guardSavepoints(transaction: object, assertOpen: () => void): void {
  guardTransaction(transaction, COMMANDS, assertOpen)
}

function guardTransaction(
  transaction: object,
  commands: readonly string[],
  assertOpen: () => void,
): void {
  const call = (method: Method, given: readonly unknown[]): unknown =>
    Reflect.apply(method, transaction, given)
  wrapped(
    transaction,
    commands,
    (method) =>
      (...given): Command => ({
        async execute() {
          assertOpen()
          return guardMade(await (call(method, given) as Command).execute(), assertOpen)
        },
      }),
  )
  wrapped(
    transaction,
    COPIES,
    (method) =>
      (...given) =>
        guardMade(call(method, given), assertOpen),
  )
}

function guardMade(made: unknown, assertOpen: () => void): unknown {
  if (typeof made !== 'object' || made === null) return made
  guardTransaction(made, [...COMMANDS, 'commit', 'rollback'], assertOpen)
  guardExecutor((made as { getExecutor(): object }).getExecutor(), assertOpen)
  return made
}

/** Query builders keep the executor, and so do those that are made of it. */
function guardExecutor(executor: object, assertOpen: () => void): object {
  const call = (method: Method, given: readonly unknown[]): unknown =>
    Reflect.apply(method, executor, given)
  wrapped(executor, SENDS, (method) => (...given) => {
    assertOpen()
    return call(method, given)
  })
  wrapped(
    executor,
    EXECUTORS,
    (method) =>
      (...given) =>
        guardExecutor(call(method, given) as object, assertOpen),
  )
  return executor
}
