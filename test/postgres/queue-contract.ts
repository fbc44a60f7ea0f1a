import { setTimeout as sleep } from 'node:timers/promises'
import { describe, test } from 'vitest'
import { silentLogger } from '../../src/core/telemetry.ts'
import { postgresQueue, type PostgresQueue } from '../../src/postgres.ts'
import { type TransportHarness, transportContract } from '../../src/testing/index.ts'
import type { ServerUnderTest } from './contract-suite.ts'
import { testDatabase } from './database.ts'

async function harness(url: string | undefined): Promise<TransportHarness> {
  const database = await testDatabase(url)
  const { schema } = database
  const queues: PostgresQueue[] = []
  const open = (): PostgresQueue => {
    const queue = postgresQueue({
      pool: database.pool,
      schema,
      maxMessageBytes: 2_000_000,
      logger: silentLogger,
    })
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
      // The time of its holds is over, by the clock of the database.
      await database.query(
        `update ${schema}.queue_message set visible_at = now() where token is not null`,
      )
    },
    deadLetters: () => open().deadLetters,
    [Symbol.asyncDispose]: async () => {
      for (const queue of queues) await queue[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** The contract suite of a transport, for the queue on one server. */
export function queueContract(name: string, { present, url }: ServerUnderTest): void {
  describe.skipIf(!present)(name, () => {
    for (const item of transportContract) {
      test(item.name, async () => {
        await using own = await harness(url?.())
        await item.run(own)
      })
    }
  })
}
