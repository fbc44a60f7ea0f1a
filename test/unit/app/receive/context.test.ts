import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Mersal, event } from '../../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../../src/memory.ts'

const Placed = event<{ id: number }>('orders.placed')

test('handlers see nothing of the request that happens to start the app, nor of those that send', async () => {
  const request = new AsyncLocalStorage<string>()
  const app = new Mersal({
    name: 'shop',
    store: memoryStore(),
    transport: memoryTransport(),
    logger: false,
  })
  const seen: (string | undefined)[] = []
  app.handle(Placed, async () => void seen.push(request.getStore()))
  const send = (id: number) => app.transaction((_, { publish }) => publish(Placed, { id }))
  await request.run('first', async () => {
    await app.start()
    await send(1)
  })
  await request.run('second', () => send(2))
  while (seen.length < 2) await turn()
  await app.stop()
  expect(seen).toEqual([undefined, undefined])
})
