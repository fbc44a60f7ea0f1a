import { systemClock } from '../../lib/async/clock.ts'
import { nextTurn } from '../../lib/async/turn.ts'
import type { SqlExecutor } from '../session.ts'
import { isFunction, notATransaction } from './handles.ts'

/**
 * A connection of postgres.js 3. `reserved` belongs to the transaction that has the connection, and
 * is another one, or nothing, once that has ended.
 */
interface Connection {
  readonly reserved?: unknown
}

/** What postgres.js passes to the callback of `begin` and of `savepoint`. */
interface Sql {
  unsafe(text: string, values: readonly unknown[], options: object): PromiseLike<unknown>
}

interface Hold {
  readonly connection: Connection
  readonly reserved: unknown
}

const holds = new WeakMap<object, Hold>()

/** Between two looks whether the transaction of a statement without answer has ended. */
const LOOK = { firstMs: 50, longestMs: 5000 } as const

/**
 * For statements that may come after the end of their transaction. postgres.js would put such a
 * statement into a line that nobody empties, so that it is never answered. On a connection that has
 * been closed it would lose that for good, or end the process. So the statement is refused while
 * that can still be done, and else when it is known that it came too late.
 */
export function whileHeld(library: string, sql: unknown, executor: SqlExecutor): SqlExecutor {
  if (!isSql(sql)) return executor
  const late = (): Error =>
    notATransaction(library, 'its transaction has ended: await every call before that')
  return {
    ...executor,
    async query(text, values, options) {
      const hold = holds.get(sql)
      if (hold === undefined) learn(sql)
      else if (isOver(hold)) throw late()
      const done = new AbortController()
      try {
        return await Promise.race([
          executor.query(text, values, options),
          refuseOnceOver(sql, late, done.signal),
        ])
      } finally {
        done.abort()
      }
    },
  }
}

const isSql = (value: unknown): value is Sql =>
  isFunction(value) && isFunction((value as { readonly unsafe?: unknown }).unsafe)

const isOver = ({ connection, reserved }: Hold): boolean =>
  reserved === null || reserved === undefined || connection.reserved !== reserved

/**
 * Asks postgres.js for the connection of a transaction, with a statement that is empty and goes
 * ahead of the next one without waiting.
 */
function learn(sql: Sql): void {
  const onexecute = (connection: Connection): true => {
    if (!holds.has(sql)) holds.set(sql, { connection, reserved: connection.reserved })
    return true
  }
  // If the connection breaks, the statement behind this one tells.
  sql.unsafe('', [], { simple: true, onexecute }).then(undefined, () => {})
}

/**
 * Rejects when the transaction has ended. An answer that came before that has then arrived as well,
 * since the connection answers in order.
 */
async function refuseOnceOver(sql: Sql, late: () => Error, signal: AbortSignal): Promise<never> {
  for (let ms: number = LOOK.firstMs; !signal.aborted; ms = Math.min(2 * ms, LOOK.longestMs)) {
    await systemClock.sleep(ms, signal)
    const hold = holds.get(sql)
    if (hold === undefined) learn(sql)
    else if (isOver(hold)) break
  }
  await nextTurn()
  throw late()
}
