import { describe, expect, test } from 'vitest'
import { MersalError } from '../../../src/core/errors/errors.ts'
import { type Logger, silentLogger } from '../../../src/core/telemetry.ts'
import {
  type BrokerClient,
  type ConnectionEvents,
  Link,
  type LinkOptions,
} from '../../../src/transports/shared/link.ts'
import { Pace } from '../../../src/transports/shared/pace.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'

/** A broker whose connections open, or fail, as the list says; then they open. */
function broker(...tries: readonly (Error | Promise<number> | 'opens')[]) {
  const clock = manualClock()
  const left = [...tries]
  const opened: ConnectionEvents[] = []
  const destroyed: number[] = []
  const logged: string[] = []
  const openedAt: number[] = []
  const client: BrokerClient<number> = {
    async open() {
      openedAt.push(clock.monotonic())
      const next = left.shift() ?? 'opens'
      if (next instanceof Error) throw next
      return next === 'opens' ? opened.length : await next
    },
    watch: (_, events) => void opened.push(events),
    close: () => Promise.resolve(),
    destroy: (connection) => void destroyed.push(connection),
    mistakeIn: (error) =>
      (error as Error).message === 'wrong password'
        ? new MersalError('MERSAL_INVALID_OPTIONS', 'wrong password')
        : undefined,
  }
  const logger: Logger = {
    ...silentLogger,
    error: (fields) => void logged.push(String(fields['error'])),
  }
  const options: LinkOptions<number> = {
    broker: 'Broker',
    purpose: 'testing',
    client,
    pace: new Pace(clock, () => 1),
    timeoutMs: 5000,
    describe: (error) => (error as Error).message,
    logger,
    clock,
  }
  const [link, other] = [new Link(options), new Link(options)]
  return { clock, link, other, opened, openedAt, destroyed, logged }
}

describe('a link', () => {
  test('connects at the first use, once for all who ask, and tells of its loss', async () => {
    const { clock, link, opened, destroyed } = broker()
    const [one, two] = await Promise.all([link.connection(), link.connection()])
    expect([one.connection, two.connection, opened.length]).toEqual([0, 0, 1])
    opened[0]?.lost(new Error('cut'))
    expect(one.lost.reason).toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    expect([link.down?.message.includes('cut'), destroyed]).toEqual([true, [0]])
    const { back } = link
    await clock.advance(2000)
    await back
    expect([link.live?.connection, link.down]).toEqual([1, undefined])
  })

  test('P10: tries at once when a connection is lost that has worked', async () => {
    const { clock, link, opened, openedAt } = broker()
    await link.connection()
    await clock.advance(5000)
    opened[0]?.lost(new Error('cut'))
    await clock.advance(100)
    expect([link.live?.connection, openedAt]).toEqual([1, [0, 5100]])
  })

  test('P10: tries at most once a second when each connection is lost as soon as it is open', async () => {
    const { clock, link, opened, openedAt } = broker()
    await link.connection()
    for (let losses = 0; losses < 4; losses++) {
      opened[losses]?.lost(new Error('hung up'))
      await clock.advance(1100)
    }
    expect(openedAt).toEqual([0, 1100, 2200, 3300, 4400])
  })

  test('P10: the loss of two connections in one moment delays neither of them', async () => {
    const { clock, link, other, opened } = broker()
    await Promise.all([link.connection(), other.connection()])
    await clock.advance(5000)
    for (const events of opened.slice()) events.lost(new Error('cut'))
    await clock.advance(100)
    expect([link.live, other.live]).not.toContain(undefined)
  })

  test('P10: tries again by itself, at most once a second', async () => {
    const away = new Error('away')
    const { clock, link, openedAt } = broker(away, away, away)
    await expect(link.connection()).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    expect(link.back).toBeDefined()
    await clock.advance(10_000)
    expect(link.live).toBeDefined()
    const gaps = openedAt.slice(1).map((at, index) => at - (openedAt[index] ?? 0))
    expect(gaps).toEqual([1500, 3000, 3000])
  })

  test('says at once what only a person can fix, logs it once, and goes on trying', async () => {
    const wrong = new Error('wrong password')
    const { clock, link, logged } = broker(wrong, wrong, wrong)
    await expect(link.connection()).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    await clock.advance(10_000)
    expect([logged, link.live?.connection]).toEqual([
      ['MersalError: wrong password (MERSAL_INVALID_OPTIONS)'],
      0,
    ])
  })

  test('an alarm is trouble although the connection works', async () => {
    const { link, opened } = broker()
    await link.connection()
    expect([link.blocked, link.back]).toEqual([false, undefined])
    opened[0]?.blocked('memory')
    const { back } = link
    expect([link.blocked, link.down]).toEqual([true, undefined])
    opened[0]?.unblocked()
    await back
    expect(link.back).toBeUndefined()
  })

  test('what opens too late is destroyed', async () => {
    const slow = Promise.withResolvers<number>()
    const { clock, link, destroyed } = broker(slow.promise)
    const connecting = link.connection()
    await Promise.all([expect(connecting).rejects.toThrow('6000 ms'), clock.advance(6000)])
    slow.resolve(7)
    await clock.advance(1500)
    expect([destroyed, link.live?.connection]).toEqual([[7], 0])
  })

  test('a closed link ends its connection and opens nothing more', async () => {
    const { clock, link, destroyed } = broker()
    const { lost } = await link.connection()
    await link[Symbol.asyncDispose]()
    expect([lost.aborted, destroyed]).toEqual([true, [0]])
    await expect(link.connection()).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    await clock.advance(10_000)
    expect(destroyed).toEqual([0])
  })
})
