import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, test } from 'vitest'
import { createRelay } from '../../../src/outbox/relay.ts'
import { relaySettings } from '../../../src/outbox/options.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { systemClock } from '../../../src/lib/async/clock.ts'
import { confirmed, message, pass, refusedForGood, relays, testTransport } from './support.ts'

const { start } = relays()

test('a waker that fails is reported and the relay goes on', async () => {
  const { add, clock, log, sent } = start(
    {},
    { wakers: [() => Promise.reject(new Error('no connection'))] },
  )
  await add(message('a'))
  await pass(clock, () => sent().length === 1, 1100, 'the poll timer')
  expect(
    log.some(({ level, message }) => level === 'warn' && message.startsWith('a waker failed')),
  ).toBe(true)
})

test('what happens is published to diagnostics channels', async () => {
  const seen: string[] = []
  const names = ['mersal:claim', 'mersal:publish', 'mersal:settle', 'mersal:dead']
  const listen = (event: unknown, name: string | symbol): void => {
    seen.push(`${String(name)} ${JSON.stringify(event)}`)
  }
  for (const name of names) subscribe(name, listen)
  try {
    const { add, relay, transport } = start()
    transport.behaviour = ({ id }) => (id === 'bad' ? refusedForGood : confirmed)
    await add(message('good'), message('bad'))
    await relay.drain()
  } finally {
    for (const name of names) unsubscribe(name, listen)
  }
  expect(seen).toContain('mersal:claim {"app":"test","messages":2}')
  expect(seen).toContain(
    'mersal:publish {"app":"test","id":"good","to":"default/queue/q","outcome":"confirmed","attempt":1}',
  )
  expect(seen).toContain('mersal:settle {"app":"test","messages":2,"stale":0}')
  expect(seen).toContain(
    'mersal:dead {"app":"test","id":"bad","to":"default/queue/q","reason":"unroutable"}',
  )
})

test('what the relay holds is bounded by the window, whatever the backlog', async () => {
  const rows = 100_000
  let next = 0
  let held = 0
  let most = 0
  const token = 't'
  const relay = createRelay({
    environment: {
      app: 'test',
      logger: silentLogger,
      clock: systemClock,
      random: Math.random,
      newToken: () => token,
    },
    storage: {
      claim: async ({ limit }) => {
        const count = Math.min(limit, rows - next)
        held += count
        most = Math.max(most, held)
        await new Promise((resolve) => setImmediate(resolve))
        return Array.from({ length: count }, () => ({
          message: message(`m${++next}`),
          position: BigInt(next),
          attempt: 1,
          token,
        }))
      },
      settle: async (list) => {
        held -= list.length
        return Promise.resolve({ stale: 0 })
      },
    },
    transports: new Map([
      [
        'default',
        { ...testTransport(), publish: (list) => list.map(() => Promise.resolve(confirmed)) },
      ],
    ]),
    settings: relaySettings({ batchSize: 100, window: 300 }),
  })
  relay.start()
  await relay.drain()
  expect(await relay.stop()).toBe(true)
  expect(next).toBe(rows)
  expect(most).toBeLessThanOrEqual(300)
})
