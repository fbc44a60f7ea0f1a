import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { Mersal, command } from '../../../src/index.ts'
import { type RabbitOptions, rabbitmq } from '../../../src/rabbitmq.ts'
import { openProxy, type Proxy } from '../../chaos/proxy.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'

const here = await rabbitIsHere()
const Poison = command<{ id: number }>('test.poison')
/** Two tries of each of four deliveries. */
const receive = {
  immediateRetries: 1,
  maxDeliveries: 4,
  backoff: { firstMs: 100, longestMs: 300 },
  concurrency: 5,
}
const CALLS = 8

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

// At the same time: most of it is waiting, and each has a queue and a proxy of its own.
describe.skipIf(!here).concurrent('one poison message at RabbitMQ', () => {
  const vhost = withVhost()

  /**
   * Handles one poison message behind a proxy; `trouble` is told of every call of the handler.
   * Returns what became of it.
   */
  async function die(
    options: Partial<RabbitOptions>,
    trouble: (proxy: Proxy, call: number) => void,
  ) {
    await using proxy = await openProxy(5672)
    const through = new URL(vhost.url)
    through.port = String(proxy.port)
    const name = `poison-${randomBytes(4).toString('hex')}`
    const given = {
      logger: false as const,
      newQueuePauseMs: 0,
      confirmTimeoutMs: 700,
      heartbeatSeconds: 1,
      ...options,
    }
    const transport = rabbitmq({ url: through.href, ...given })
    await using app = new Mersal({ name, transport, receive, logger: false })
    let calls = 0
    app.handle(Poison, async () => {
      calls++
      trouble(proxy, calls)
      throw new Error('poison')
    })
    await app.start()
    await using looker = rabbitmq({ url: vhost.url, ...given, confirmTimeoutMs: 10_000 })
    await looker.subscribe(name, [])
    const sender = new Mersal({
      name: `${name}-sender`,
      transport: looker,
      sendOnly: true,
      routes: { 'test.poison': name },
      logger: false,
    })
    await sender.direct.send(Poison, { id: 1 })
    // It is dead, and nothing has happened for long.
    let [seen, quiet] = ['', 0]
    const deadline = performance.now() + 60_000
    while (quiet < 4000 && performance.now() < deadline) {
      await pause(200)
      const letters = await looker.deadLetters.list()
      const state = `${calls} ${letters.length}`
      quiet = state === seen && letters.length > 0 ? quiet + 200 : 0
      seen = state
    }
    const letters = await looker.deadLetters.list()
    const physical = await (async () => {
      await using plain = await plainClient(vhost.url)
      return (await plain.channel.checkQueue(`${name}.dead`)).messageCount
    })()
    return { calls, letters, physical }
  }

  for (const queueType of ['quorum', 'classic'] as const) {
    test(`is tried ${CALLS} times and dies once when nothing goes wrong (${queueType})`, {
      timeout: 240_000,
    }, async () => {
      const { calls, letters } = await die({ queueType }, () => {})
      expect(calls).toBe(CALLS)
      expect(letters).toMatchObject([{ reason: 'handler-failed', attempts: 4 }])
    })

    test(`dies once through resets after every try: at most one call more for each (${queueType})`, {
      timeout: 240_000,
    }, async () => {
      let resets = 0
      const { calls, letters, physical } = await die({ queueType }, (proxy, call) => {
        if (call > 12) return
        // The copy is on its way, and nobody knows whether the broker has it.
        const after = (call * 7) % 5
        setTimeout(() => {
          resets++
          proxy.reset()
        }, after)
      })
      expect(letters).toHaveLength(1)
      expect(calls).toBeGreaterThanOrEqual(CALLS)
      expect(calls).toBeLessThanOrEqual(CALLS + resets)
      expect(physical).toBeLessThanOrEqual(1 + resets)
    })

    test(`dies once through freezes in which several copies are sent unconfirmed (${queueType})`, {
      timeout: 240_000,
    }, async () => {
      let freezes = 0
      const { calls, letters } = await die({ queueType }, (proxy, call) => {
        // After the last try of each delivery: it is moved now.
        if (call % 2 === 1 || call > 8) return
        freezes++
        proxy.weather({ kind: 'black hole' })
        setTimeout(() => proxy.weather({ kind: 'fair' }), 2000)
      })
      expect(freezes).toBe(CALLS / 2)
      expect(letters).toHaveLength(1)
      expect(calls).toBe(CALLS)
    })
  }
})
