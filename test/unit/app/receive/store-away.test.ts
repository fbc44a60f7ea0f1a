import { describe, expect, test } from 'vitest'
import { MersalError, type Store, command } from '../../../../src/index.ts'
import type { MemoryTransaction } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { json } from '../../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const HOUR = 3_600_000
const order = (id: number) => ({ type: 'orders.place', body: json({ id }) })
const fromServer = (code: string): Error =>
  Object.assign(new Error(`the server said ${code}`), { code, severity: 'FATAL' })

/**
 * A shop whose database fails as the test says: at the opening of a unit, in a statement of the
 * handler, or at the commit.
 */
function fragile(options: ShopOptions = {}) {
  const fault: { open?: Error; commit?: Error; statement?: Error } = {}
  const lines: string[] = []
  const note = (level: string) => (_: object, text: string) => void lines.push(`${level} ${text}`)
  const clock = manualClock()
  const breaking = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
    ...store,
    unitOfWork: async (work, given) => {
      if (fault.open !== undefined) throw fault.open
      return store.unitOfWork(async (tx, repeat) => {
        const result = await work(tx, repeat)
        if (fault.commit !== undefined) throw fault.commit
        return result
      }, given)
    },
  })
  const logger = { debug: () => {}, info: note('info'), warn: note('warn'), error: note('error') }
  const shop = openShop({ clock, logger, change: breaking, ...options })
  const seen: number[][] = []
  shop.app.handle(Place, ({ id }, { attempt }) => {
    if (fault.statement !== undefined) throw fault.statement
    seen.push([id, attempt])
  })
  return { ...shop, fault, lines, clock, seen }
}

describe('a database that is away', () => {
  const errors: readonly [string, Error][] = [
    [
      'refuses connections',
      Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }),
    ],
    ['is starting', fromServer('57P03')],
    ['is read-only', fromServer('25006')],
    ['has too many connections', fromServer('53300')],
    ['has another password', fromServer('28P01')],
    [
      'is locked by another process',
      new MersalError('MERSAL_STORE_BUSY', 'another connection holds the database'),
    ],
    ['fails in a way that nobody knows', new Error('something strange')],
  ]
  for (const [what, error] of errors) {
    test(`when it ${what} for an hour, messages wait, none is charged, and all are handled when it is back`, async () => {
      const { app, transport, fault, clock, seen, lines } = fragile({
        receive: { maxDeliveries: 1 },
      })
      await app.start()
      fault.open = error
      let waiting = [1, 2, 3].map((id) => ({ id, end: transport.deliver('shop', order(id)) }))
      // What has been in hand for long goes back and comes again, as a broker would do it.
      for (let minute = 0; minute < 60; minute++) {
        await clock.advance(HOUR / 60)
        waiting = await Promise.all(
          waiting.map(async ({ id, end }) => {
            const state = await Promise.race([end, Promise.resolve('in hand' as const)])
            if (state === 'in hand') return { id, end }
            expect(state).toEqual({ kind: 'release' })
            return { id, end: transport.deliver('shop', order(id)) }
          }),
        )
      }
      expect(seen).toEqual([])
      delete fault.open
      await clock.advance(10_000)
      expect(await Promise.all(waiting.map(({ end }) => end))).toEqual([
        { kind: 'ack' },
        { kind: 'ack' },
        { kind: 'ack' },
      ])
      expect(seen).toEqual([
        [1, 1],
        [2, 1],
        [3, 1],
      ])
      expect(lines.map((line) => line.split(':')[0])).toEqual([
        'warn the database is away',
        'warn the database is back',
      ])
      await app.stop()
    })
  }

  test('at the commit, or in a statement of the handler, is no failure of the handler either', async () => {
    for (const place of ['commit', 'statement'] as const) {
      const { app, transport, fault, clock, seen } = fragile({ receive: { maxDeliveries: 1 } })
      await app.start()
      fault.open = fromServer('57P01')
      fault[place] = new Error('the library says', { cause: fromServer('57P01') })
      const first = transport.deliver('shop', order(1))
      await clock.advance(20_000)
      delete fault.open
      delete fault[place]
      await clock.advance(10_000)
      expect(await first).toEqual({ kind: 'ack' })
      expect(seen.at(-1)).toEqual([1, 1])
      await app.stop()
    }
  })

  test('lets go of what is in hand at once when the app stops, uncharged', async () => {
    const { app, transport, fault, clock } = fragile({ stopGraceMs: 1000 })
    await app.start()
    fault.open = fromServer('57P03')
    const waiting = [1, 2].map((id) => transport.deliver('shop', order(id)))
    await clock.advance(5000)
    await app.stop()
    expect(await Promise.all(waiting)).toEqual([{ kind: 'release' }, { kind: 'release' }])
  })

  test('lets go of a delivery that the transport has lost meanwhile', async () => {
    const { app, transport, fault, clock } = fragile()
    await app.start()
    fault.open = fromServer('57P03')
    const lost = new AbortController()
    const waiting = transport.deliver('shop', order(1), { signal: lost.signal })
    await clock.advance(2000)
    lost.abort(new Error('the channel is gone'))
    expect(await waiting).toEqual({ kind: 'release' })
    await app.stop()
  })

  test('holds up messages that share a transaction without charging or undoing more than one', async () => {
    const { app, transport, fault, clock, seen } = fragile({
      receive: { maxDeliveries: 1, concurrency: 10 },
    })
    const Many = command<{ id: number }>('orders.many')
    app.handle(Many, ({ id }, { attempt }) => void seen.push([id, attempt]), { batch: 10 })
    await app.start()
    fault.open = fromServer('53300')
    const ends = [1, 2, 3, 4].map((id) =>
      transport.deliver('shop', { type: 'orders.many', body: json({ id }) }),
    )
    await clock.advance(30_000)
    delete fault.open
    await clock.advance(10_000)
    expect((await Promise.all(ends)).map(({ kind }) => kind)).toEqual(['ack', 'ack', 'ack', 'ack'])
    expect(seen.every(([, attempt]) => attempt === 1)).toBe(true)
    await app.stop()
  })
})

describe('what is not our database', () => {
  test('another database or service that is down is charged to the handler, since ours answers', async () => {
    const { app, transport, fault, lines } = fragile({ receive: { maxDeliveries: 2 } })
    await app.start()
    fault.statement = Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:443'), {
      code: 'ECONNREFUSED',
    })
    expect(await transport.deliver('shop', order(1))).toMatchObject({ kind: 'retry' })
    expect(await transport.deliver('shop', order(1), { attempt: 2 })).toMatchObject({
      kind: 'reject',
      reason: 'handler-failed',
    })
    expect(lines.some((line) => line.includes('is away'))).toBe(false)
    await app.stop()
  })

  for (const code of ['40001', '40P01', '23505', '57014']) {
    test(`an error ${code} of a statement is a failure of that attempt`, async () => {
      const { app, transport, fault } = fragile({ receive: { maxDeliveries: 1 } })
      await app.start()
      fault.statement = fromServer(code)
      expect(await transport.deliver('shop', order(1))).toMatchObject({
        kind: 'reject',
        reason: 'handler-failed',
      })
      await app.stop()
    })
  }

  test('a message that its own commit always refuses is charged although the error looks like one of ours', async () => {
    const { app, transport, fault, clock } = fragile({ receive: { maxDeliveries: 1 } })
    await app.start()
    const ends: unknown[] = []
    fault.commit = new MersalError('MERSAL_STORE_FAILED', 'this very row cannot be stored')
    void transport.deliver('shop', order(1)).then((disposition) => ends.push(disposition))
    // The probe, which is rolled back, sees nothing of that.
    for (let turn = 0; turn < 20 && ends.length === 0; turn++) await clock.advance(10_000)
    expect(ends[0]).toMatchObject({ kind: 'reject', reason: 'handler-failed' })
    await app.stop()
  })
})
