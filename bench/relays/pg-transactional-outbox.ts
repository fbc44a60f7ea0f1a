import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { listenTransactional, unprocessed } from '../peers/pg-transactional-outbox.ts'
import type { OpenRelay } from './job.ts'

export const pgTransactionalOutbox: OpenRelay = async ({ database }, sink) => {
  let shutdown: (() => Promise<void>) | undefined
  return {
    async start() {
      shutdown = await listenTransactional(database, (body) =>
        sink.publish([Buffer.from(JSON.stringify(body))]),
      )
    },
    async drained() {
      await sink.all
      const client = new Client({ connectionString: database })
      await client.connect()
      while ((await client.query(`select from ${unprocessed} limit 1`)).rowCount !== 0)
        await sleep(5)
      await client.end()
    },
    [Symbol.asyncDispose]: async () => {
      await shutdown?.()
    },
  }
}
