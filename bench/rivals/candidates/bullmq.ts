import { Pool } from 'pg'
import { loadPeer } from '../../peers/load.ts'
import { type Library, type Opened, type Ports, transaction } from '../candidate.ts'
import type { Body, Servers } from '../plan.ts'

interface Closing {
  close(): Promise<void>
}
interface Queue extends Closing {
  add(name: string, data: Body, options: object): Promise<unknown>
  getFailedCount(): Promise<number>
}
interface BullMq {
  readonly Queue: new (name: string, options: object) => Queue
  readonly Worker: new (
    name: string,
    work: (job: { readonly data: Body }) => Promise<void>,
    options: object,
  ) => Closing & {
    waitUntilReady(): Promise<unknown>
    on(name: 'error', listener: (error: Error) => void): void
  }
}

const NAME = 'rivals'

const connectionTo = ({ redis }: Servers): object => ({
  host: new URL(redis).hostname,
  port: Number(new URL(redis).port),
  maxRetriesPerRequest: null,
})

/** It knows nothing of the database, so the job is added before the commit or after it. */
async function open(ports: Ports): Promise<Opened> {
  const { Queue, Worker } = await loadPeer<BullMq>('bullmq')
  const pool = new Pool({ connectionString: ports.database, max: 8 })
  pool.on('connect', ports.watch)
  const connection = connectionTo(ports)
  const queue = new Queue(NAME, { connection })
  const closed: Closing[] = [queue]
  const add = (body: Body): Promise<unknown> =>
    queue.add('happened', body, { attempts: 3, backoff: { type: 'fixed', delay: 300 } })
  return {
    async write(body) {
      await transaction(
        () => pool.connect(),
        async (client) => {
          await ports.row(client, body)
          if (ports.order === 'send first') await add(body)
        },
      )
      if (ports.order === 'commit first') await add(body)
    },
    async consume(handle) {
      const work = ({ data }: { readonly data: Body }): Promise<void> =>
        transaction(
          () => pool.connect(),
          (client) => handle(client, data),
        )
      const worker = new Worker(NAME, work, { connection, concurrency: 4 })
      worker.on('error', () => {})
      closed.push(worker)
      await worker.waitUntilReady()
    },
    async [Symbol.asyncDispose]() {
      for (const each of closed) await each.close()
      await pool.end()
    },
  }
}

export const library: Library = {
  open,
  async given(servers) {
    const { Queue } = await loadPeer<BullMq>('bullmq')
    const queue = new Queue(NAME, { connection: connectionTo(servers) })
    try {
      return await queue.getFailedCount()
    } finally {
      await queue.close()
    }
  },
}
