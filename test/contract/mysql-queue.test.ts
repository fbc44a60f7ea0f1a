import { setTimeout as sleep } from 'node:timers/promises'
import { describe, test } from 'vitest'
import { silentLogger } from '../../src/core/telemetry.ts'
import { mysqlQueue, type MysqlQueue } from '../../src/mysql.ts'
import { type TransportHarness, transportContract } from '../../src/testing/index.ts'
import { serverAnswers, testDatabase } from '../mysql/server.ts'

const present = await serverAnswers()

async function harness(): Promise<TransportHarness> {
  const database = await testDatabase()
  const queues: MysqlQueue[] = []
  const open = (): MysqlQueue => {
    const { pool } = database
    const queue = mysqlQueue({ pool, maxMessageBytes: 2_000_000, logger: silentLogger })
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
        'update mersal_queue_message set visible_at = utc_timestamp(6) where token is not null',
      )
    },
    deadLetters: () => open().deadLetters,
    [Symbol.asyncDispose]: async () => {
      for (const queue of queues) await queue[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

describe.skipIf(!present)('MySQL queue', () => {
  for (const item of transportContract) {
    test(item.name, async () => {
      await using own = await harness()
      await item.run(own)
    })
  }
})
