import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Store } from '../../../src/index.ts'
import { kill, message, openMemory, save } from './support.ts'

/** Takes everything that is due, and has it refused. */
async function refuse(store: Store<never>, error: Error): Promise<void> {
  const token = randomUUID()
  const rows = await store.outbox.claim({ limit: 1000, claimMs: 60_000, token })
  await store.outbox.settle(
    rows.map(({ position }) => ({ kind: 'retry', position, token, delayMs: 0, error })),
  )
}

const away = new Error('no way in', { cause: new Error('amqp://shop:hunter2@broker is shut') })

test('an open message that was refused is shown with its attempts, without secrets', async () => {
  const { store, get } = await openMemory()
  expect((await get('api/refused?source=main')).body).toEqual({ messages: [], next: null })
  await save(store, message('1', { partitionKey: 'k' }), message('2'), message('3'))
  await refuse(store, away)
  await refuse(store, new Error('again'))
  const { body, text } = await get('api/refused?source=main&limit=2')
  expect(body.messages).toMatchObject([
    {
      type: 'orders.placed',
      place: 'default/queue/orders',
      partitionKey: 'k',
      attempts: 2,
      history: [
        { attempt: 1, code: 'none', causes: ['Error: no way in', expect.stringMatching(/shut$/)] },
        { attempt: 2, causes: ['Error: again'] },
      ],
    },
    { partitionKey: null },
  ])
  expect(text).not.toContain('hunter2')
  const rest = await get(`api/refused?source=main&limit=2&after=${body.next}`)
  expect(rest.body).toMatchObject({ messages: [{ attempts: 2 }], next: null })
})

test('a dead letter is shown with its attempts, the last one too', async () => {
  const { store, get } = await openMemory()
  await save(store, message('1'))
  await refuse(store, away)
  await kill(store, new Error('given up'))
  const { letters } = (await get('api/dead?source=main')).body
  const { body, text } = await get(`api/dead/letter?source=main&key=${letters[0].key}`)
  expect(body.history).toMatchObject([
    { attempt: 1, causes: ['Error: no way in', expect.any(String)] },
    { attempt: 2, causes: ['Error: given up'] },
  ])
  expect(text).not.toContain('hunter2')
})
