import { setTimeout as sleep } from 'node:timers/promises'
import type { DeadLetterBox } from '../../src/core/dead-letter.ts'
import type { Transport } from '../../src/core/transport.ts'
import type { TransportHarness } from '../../src/testing/index.ts'

interface DatabaseOfQueue extends AsyncDisposable {
  readonly query: (text: string) => Promise<unknown>
}

/**
 * For the transport suite, on queues in one database, which goes with the harness. `expire`: the
 * statement that ends all holds, by the clock of the database.
 */
export function databaseQueueHarness(
  database: DatabaseOfQueue,
  expire: string,
  openQueue: () => Transport & { readonly deadLetters: DeadLetterBox },
): TransportHarness {
  const queues: AsyncDisposable[] = []
  const open = (): ReturnType<typeof openQueue> => {
    const queue = openQueue()
    queues.push(queue)
    return queue
  }
  return {
    open: () => Promise.resolve(open()),
    orderPerKey: 'always',
    name: (label) => label,
    elapse: (ms) => sleep(ms),
    crash: async (transport) => {
      await transport[Symbol.asyncDispose]()
      await database.query(expire)
    },
    deadLetters: () => open().deadLetters,
    [Symbol.asyncDispose]: async () => {
      for (const queue of queues) await queue[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}
