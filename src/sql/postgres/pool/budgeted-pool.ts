import { clearTimeout, setTimeout } from 'node:timers'
import { systemClock } from '../../../lib/async/clock.ts'
import type { BudgetMember, ConnectionBudget, Kept, Turn } from './connection-budget.ts'
import type { PostgresPool, PostgresPoolClient } from '../client.ts'

/** A pool of one store that keeps to a budget. */
export interface BudgetedPool extends PostgresPool {
  /** Whether this store may have a connection that only listens; see `BudgetMember`. */
  readonly mayListen: (signal: AbortSignal) => Promise<boolean>
  readonly mayListenNoMore: () => void
  /** Lends only connections that listen, outside of the turns of the others. */
  readonly listening: PostgresPool
}

/** A connection that has been idle for this time is closed. */
const IDLE_MS = 10_000
/** A server that does not answer cannot say that it has let a connection go. */
const LONGEST_CLOSE_MS = 2000

interface Connection extends Kept {
  readonly client: PostgresPoolClient
  dead: boolean
  /** Begun anew whenever it is given back. */
  readonly unused: NodeJS.Timeout
}

/**
 * Takes its connections from `pool` and keeps them to itself, so that the budget knows of each one
 * and can have it closed when another store needs its place. `pool` must be for this use alone;
 * `end` ends it.
 */
export function budgetedPool(pool: PostgresPool, budget: ConnectionBudget): BudgetedPool {
  const member = budget.join()
  const facade = {
    on: pool.on.bind(pool),
    off: pool.off.bind(pool),
    ...(pool.direct === undefined ? {} : { direct: pool.direct }),
    async end() {
      await member.leave()
      await pool.end()
    },
  } as unknown as Omit<PostgresPool, 'connect'>
  return {
    ...facade,
    mayListen: (signal) => member.mayListen(signal),
    mayListenNoMore: () => member.mayListenNoMore(),
    connect: async () => lend(pool, member, await member.take()),
    listening: { ...facade, connect: () => lendListening(pool, member) },
  }
}

async function lend(
  pool: PostgresPool,
  member: BudgetMember,
  turn: Turn,
): Promise<PostgresPoolClient> {
  let connection: Connection
  try {
    connection = (turn.kept as Connection | undefined) ?? (await connect(pool, member))
  } catch (error) {
    turn.over(undefined, { failed: true })
    throw error
  }
  const { client } = connection
  client.release = (broken) => {
    const failed = connection.dead || (broken !== undefined && broken !== false)
    connection.unused.refresh()
    turn.over(connection, { failed })
  }
  return client
}

async function connect(pool: PostgresPool, member: BudgetMember): Promise<Connection> {
  const client = await pool.connect()
  const ended = Promise.withResolvers<void>()
  const release = client.release.bind(client)
  let closed: Promise<void> | undefined
  const connection: Connection = {
    client,
    dead: false,
    unused: setTimeout(() => member.lost(connection), IDLE_MS).unref(),
    close: () => (closed ??= closing(connection, () => release(true), ended.promise)),
  }
  const onEnd = (): void => {
    connection.dead = true
    ended.resolve()
    member.lost(connection)
  }
  client.on('end', onEnd)
  // One that nobody listens to would end the process.
  client.on('error', () => {
    connection.dead = true
    member.lost(connection)
  })
  return connection
}

async function closing(
  { unused }: Connection,
  release: () => void,
  ended: Promise<void>,
): Promise<void> {
  clearTimeout(unused)
  const over = new AbortController()
  release()
  await Promise.race([ended, systemClock.sleep(LONGEST_CLOSE_MS, over.signal)])
  over.abort()
}

async function lendListening(
  pool: PostgresPool,
  member: BudgetMember,
): Promise<PostgresPoolClient> {
  await member.takeListening()
  let connection: Connection
  try {
    connection = await connect(pool, member)
  } catch (error) {
    member.giveBackListening()
    throw error
  }
  let given = false
  connection.client.release = () => {
    if (given) return
    given = true
    void connection.close().finally(() => member.giveBackListening())
  }
  return connection.client
}
