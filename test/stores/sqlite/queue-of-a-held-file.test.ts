import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { command, Mersal } from '../../../src/index.ts'
import { memoryStore } from '../../../src/memory.ts'
import { sqliteQueue } from '../../../src/sqlite.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'

const Order = command<{ number: number }>('orders.place')

/** The file of a queue whose tables are there, held by another program. */
async function heldFile(path: string): Promise<DatabaseSync> {
  await using queue = sqliteQueue({ path })
  await queue.subscribe('shop', [])
  const holder = new DatabaseSync(path)
  holder.exec('BEGIN IMMEDIATE')
  return holder
}

test('a queue in a file that another program holds is out of reach, as a server that does not answer', async () => {
  using folder = temporaryFolder()
  const path = folder.file('queue.db')
  using holder = await heldFile(path)
  await using queue = sqliteQueue({ path, busyTimeoutMs: 20 })
  const outOfReach = { code: 'MERSAL_UNAVAILABLE', cause: { code: 'MERSAL_STORE_BUSY' } }
  await expect(queue.subscribe('shop', [])).rejects.toMatchObject(outOfReach)
  const consuming = queue.consume({ queue: 'shop', concurrency: 1 }, () =>
    Promise.resolve({ kind: 'ack' }),
  )
  await expect(consuming).rejects.toMatchObject(outOfReach)
  holder.exec('ROLLBACK')
  await queue.subscribe('shop', [])
})

test('P10: an app starts while another program holds the file of its queue, and receives once it is free', async () => {
  using folder = temporaryFolder()
  const path = folder.file('queue.db')
  using holder = await heldFile(path)
  await using app = new Mersal({
    name: 'shop',
    store: memoryStore(),
    transport: sqliteQueue({ path, busyTimeoutMs: 20 }),
    routes: { 'orders.place': 'shop' },
    logger: false,
  })
  const { promise: handled, resolve } = Promise.withResolvers<number>()
  app.handle(Order, ({ number }) => Promise.resolve(resolve(number)))
  await app.start()
  holder.exec('ROLLBACK')
  await app.transaction((_, { send }) => send(Order, { number: 7 }))
  expect(await handled).toBe(7)
})
