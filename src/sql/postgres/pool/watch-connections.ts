import type { EventEmitter } from 'node:events'
import type { PostgresPool, PostgresPoolClient } from '../client.ts'
import { ours } from './own-pool.ts'

interface Watch {
  users: number
  readonly forget: () => void
}

const watches = new WeakMap<PostgresPool, Watch>()

/**
 * Keeps connections that die from ending the process: an `error` that nobody listens to does. An
 * idle one is an event of its pool, which has dropped it by then. One that dies in the very moment
 * it is lent is nobody's: the pool has stopped listening and the borrower has not begun, so each
 * has a listener; what it was lent for fails by itself. Stores that share a pool share the
 * listeners. Returns what takes them away, which the last of the stores does.
 */
export function watchConnections(pools: readonly PostgresPool[]): () => void {
  const watched = [...new Set(pools)].map((pool) => {
    const watch = watches.get(pool) ?? begin(pool)
    watch.users++
    return watch
  })
  return () => {
    for (const watch of watched.splice(0)) if (--watch.users === 0) watch.forget()
  }
}

function begin(pool: PostgresPool): Watch {
  const clients = new Set<PostgresPoolClient>()
  const ignore = (): void => {}
  const connected = (client: PostgresPoolClient): void => {
    clients.add(client)
    client.on('error', ignore)
  }
  // A client that the pool has dropped may still fail while it is closed, so it keeps its listener.
  const removed = (client: PostgresPoolClient): void => void clients.delete(client)
  ours.add(connected)
  pool.on('error', ignore).on('connect', connected).on('remove', removed)
  const forget = (): void => {
    watches.delete(pool)
    pool.off('error', ignore).off('connect', connected).off('remove', removed)
    // One that is lent has no listener of the pool.
    for (const client of clients) if (listeners(client) > 1) client.off('error', ignore)
  }
  const watch = { users: 0, forget }
  watches.set(pool, watch)
  return watch
}

const listeners = (client: unknown): number => (client as EventEmitter).listenerCount('error')
