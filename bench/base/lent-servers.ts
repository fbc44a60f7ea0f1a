import { once } from 'node:events'
import type { ChildProcess } from 'node:child_process'
import type { BenchServer } from '../server.ts'
import type { BenchServers } from '../servers.ts'

/** Set for a run whose servers belong to the process that has started it. */
const LENT = 'MERSAL_BENCH_SERVERS_ARE_LENT'

type Name = Exclude<keyof BenchServers, typeof Symbol.asyncDispose>

interface Wish {
  readonly wish: Name
}

const isWish = (message: unknown): message is Wish =>
  typeof message === 'object' && message !== null && 'wish' in message

export const lending: Readonly<Record<string, string>> = { [LENT]: 'yes' }

/** Answers the wishes of a child. */
export function lend(servers: BenchServers, child: ChildProcess): void {
  child.on('message', (message) => {
    if (!isWish(message)) return
    const { wish } = message
    void servers[wish]().then(
      (server) => child.connected && child.send({ wish, server }),
      () => child.connected && child.disconnect(),
    )
  })
}

/** Undefined: this run has to start its own servers. */
export function borrowedServers(): BenchServers | undefined {
  if (process.env[LENT] === undefined) return undefined
  // Whoever has nothing more to do ends, whether there is a line to its parent or not.
  process.channel?.unref()
  let asked = 0
  const borrowed = async (wish: Name): Promise<BenchServer | undefined> => {
    if (asked++ === 0) process.channel?.ref()
    const ended = once(process, 'disconnect').then(() => {
      throw new Error(`nobody lends the server '${wish}'`)
    })
    const answer = new Promise<BenchServer | undefined>((resolve) => {
      process.on('message', (message) => {
        if (isWish(message) && message.wish === wish)
          resolve((message as { readonly server?: BenchServer }).server)
      })
      process.send?.({ wish } satisfies Wish)
    })
    const server = await Promise.race([answer, ended])
    if (--asked === 0) process.channel?.unref()
    return server
  }
  const needed = async (wish: Name): Promise<BenchServer> => (await borrowed(wish)) as BenchServer
  return {
    postgres: () => needed('postgres'),
    mariadb: () => needed('mariadb'),
    rabbit: () => needed('rabbit'),
    nats: () => needed('nats'),
    redis: () => borrowed('redis'),
    syncedRedis: () => borrowed('syncedRedis'),
    kafka: () => borrowed('kafka'),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
