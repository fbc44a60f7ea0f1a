import type { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { MersalError } from '../../../core/errors/errors.ts'
import type { PostgresPool, PostgresPoolClient } from '../client.ts'

/** A new connection must be ready within this time, unless the given pool says otherwise. */
const CONNECT_MS = 15_000
/** Shorter: a relay that cannot read the log claims meanwhile. */
const REPLICATION_CONNECT_MS = 5000
/** A server that answers lets its connections go at once; a frozen one never does. */
const LONGEST_END_MS = 400

type PoolMaker = new (options: object) => PostgresPool

export interface OwnPoolOptions {
  readonly most: number
  /** The option that replaces the pool. */
  readonly instead: string
  /** Further settings of the pool. Default none. */
  readonly more?: object
}

/**
 * Its one connection can read the log of the server. No statement on it has a time limit, and none
 * is sent before the last one is answered: `pg` refuses to read a stream otherwise.
 */
export function replicationPool(given: PostgresPool): PostgresPool {
  const more = {
    replication: 'database',
    pipeline: false,
    query_timeout: 0,
    statement_timeout: 0,
    connectionTimeoutMillis: REPLICATION_CONNECT_MS,
  }
  return ownPool(given, { most: 1, instead: 'relayPool', more })
}

/**
 * A small pool of Mersal's own with the settings of the given one, so that its work goes on when
 * the application has used up its connections. See ADR 0040. `instead`: the option that replaces
 * it. What the application does in the event `connect` of its pool is done here as well. `end`
 * leaves no socket behind, also when the server does not answer.
 *
 * Throws `MERSAL_INVALID_OPTIONS` unless the given pool is one of `pg` itself: what a class of
 * somebody else does with its settings is not known, and a wrong guess leads to another database.
 */
export function ownPool(
  given: PostgresPool,
  { most, instead, more = {} }: OwnPoolOptions,
): PostgresPool {
  const { options } = given as unknown as { options?: object }
  if (typeof options !== 'object' || options === null) {
    throw uncopied(`this is no pool of 'pg' whose settings can be read`, instead)
  }
  if (!isOfPg(given))
    throw uncopied(`the class of this pool is not that of 'pg', so it cannot be copied`, instead)
  // pg hides the password from enumeration, so a copy has to name it.
  const { password, connectionTimeoutMillis } = options as {
    password?: unknown
    connectionTimeoutMillis?: number
  }
  const sockets = openSockets((options as { stream?: StreamMaker }).stream)
  const pool = new (given.constructor as PoolMaker)({
    ...options,
    ...(password === undefined ? {} : { password }),
    max: most,
    min: 0,
    keepAlive: true,
    connectionTimeoutMillis: connectionTimeoutMillis ?? CONNECT_MS,
    stream: sockets.open,
    ...more,
  })
  pool.on('connect', (client: PostgresPoolClient) => {
    for (const listener of (given as unknown as EventEmitter).listeners('connect'))
      if (!ours.has(listener)) listener.call(given, client)
  })
  const end = pool.end.bind(pool)
  pool.end = () => sockets.endedWithin(LONGEST_END_MS, end)
  return pool
}

/** Listeners of Mersal, which are not copied. */
export const ours: WeakSet<object> = new WeakSet()

function uncopied(why: string, instead: string): MersalError {
  return new MersalError(
    'MERSAL_INVALID_OPTIONS',
    `pool: ${why}; give '${instead}' as well, a second pool that leads to the same database`,
    { details: { field: 'pool' } },
  )
}

/**
 * Whether nothing but `pg` has made this pool: its class is the one of `pg-pool`, or the one that
 * `pg` derives from it without a method of its own.
 */
function isOfPg(pool: object): boolean {
  const first = Object.getPrototypeOf(pool) as object
  const second = Object.getPrototypeOf(first) as object
  if (Object.hasOwn(pool, 'connect')) return false
  if (isPgPool(first)) return true
  return (
    first.constructor.name === 'BoundPool' &&
    Object.getOwnPropertyNames(first).length === 1 &&
    isPgPool(second)
  )
}

const isPgPool = (prototype: object): boolean =>
  Object.hasOwn(prototype, '_pulseQueue') && Object.hasOwn(prototype, 'newClient')

type StreamMaker = (config: unknown) => Socket

/** Makes sockets as the application does, and knows those that are open. */
function openSockets(make: StreamMaker = () => new Socket()) {
  const open = new Set<Socket>()
  return {
    open(this: void, config: unknown): Socket {
      const socket = make(config)
      open.add(socket)
      socket.once('close', () => open.delete(socket))
      return socket
    },
    /** Sockets that are still open after this time are destroyed. */
    async endedWithin(this: void, ms: number, end: () => Promise<void>): Promise<void> {
      const destroy = (): void => {
        for (const socket of open) socket.destroy()
      }
      const late = setTimeout(destroy, ms)
      try {
        await end()
      } finally {
        clearTimeout(late)
      }
    },
  }
}
