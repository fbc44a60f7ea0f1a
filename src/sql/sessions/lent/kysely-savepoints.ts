import { replaced } from './lent.ts'

type Method = (...given: unknown[]) => unknown
type Methods = Readonly<Record<string, Method>>

/** What Kysely calls a command: nothing is sent before `execute`. */
interface Command {
  execute(): Promise<unknown>
}

/**
 * Kysely below 0.29.9 lets a savepoint of a controlled transaction go on when the transaction has
 * ended: its connection may serve somebody else by then. `assertOpen` throws once that is so.
 */
export function guardSavepoints(transaction: object, assertOpen: () => void): void {
  const { savepoint } = transaction as { readonly savepoint?: (name: string) => Command }
  if (savepoint === undefined) return
  replaced(transaction, {
    savepoint: (name: string): Command => ({
      async execute() {
        assertOpen()
        const inner = (await savepoint.call(transaction, name).execute()) as object
        guardInner(inner, assertOpen)
        return inner
      },
    }),
  })
}

function guardInner(inner: object, assertOpen: () => void): void {
  guardSavepoints(inner, assertOpen)
  const commands = ['commit', 'rollback', 'releaseSavepoint', 'rollbackToSavepoint']
  const guarded = commands.map((name) => {
    const method = (inner as Methods)[name] as Method
    const command = (...given: unknown[]): Command => ({
      execute() {
        assertOpen()
        return (method.apply(inner, given) as Command).execute()
      },
    })
    return [name, command] as const
  })
  replaced(inner, Object.fromEntries(guarded))
  guardExecutor((inner as { getExecutor(): object }).getExecutor(), assertOpen)
}

/** Query builders keep the executor, and so do those that are made of it. */
function guardExecutor(executor: object, assertOpen: () => void): object {
  const sends = ['executeQuery', 'stream', 'provideConnection']
  const makes = ['withConnectionProvider', 'withPlugin', 'withPlugins', 'withPluginAtFront']
  const methodOf = (name: string): Method => (executor as Methods)[name] as Method
  const sending = sends.map((name) => {
    const method = methodOf(name)
    const guarded = (...given: unknown[]): unknown => {
      assertOpen()
      return method.apply(executor, given)
    }
    return [name, guarded] as const
  })
  const making = [...makes, 'withoutPlugins'].map((name) => {
    const method = methodOf(name)
    return [
      name,
      (...given: unknown[]) => guardExecutor(method.apply(executor, given) as object, assertOpen),
    ] as const
  })
  replaced(executor, Object.fromEntries([...sending, ...making]))
  return executor
}
