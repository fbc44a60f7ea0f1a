import { describe, expect, test } from 'vitest'
import { event, Mersal, type OnceRequest } from '../../../../src/index.ts'
import { memoryDatabase, memoryStore } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { memoryNetwork } from '../../../../src/transports/memory.ts'

const Ordered = event<{ order: number }>('orders.ordered')
const database = memoryDatabase()
const open = () =>
  new Mersal({
    name: 'shop',
    store: memoryStore({ database }),
    transport: memoryNetwork().transport(),
    logger: false,
  })

describe('app.once', () => {
  test('what it is asked wrongly is refused with the name of the field, and nothing runs', async () => {
    const app = open()
    let runs = 0
    const refused = (request: unknown): Promise<unknown> =>
      app.once(request as OnceRequest, async () => void runs++).catch((error: unknown) => error)
    for (const key of ['', 'x'.repeat(256), 'a\nb', '\u007f', '\ud800', 7, undefined, null])
      expect(await refused({ key })).toMatchObject({
        code: 'MERSAL_ONCE_KEY',
        details: { field: 'once().key' },
        message: expect.stringMatching(/^once\(\)\.key: expected/) as string,
      })
    expect(await refused({ key: 'k', scope: '' })).toMatchObject({
      code: 'MERSAL_ONCE_KEY',
      details: { field: 'once().scope' },
    })
    for (const [field, more] of [
      ['once().fingerprint', { fingerprint: 7 }],
      ['once().waitMs', { waitMs: -1 }],
      ['once().keepMs', { keepMs: 10 }],
      ['once().keepFor', { keepFor: 10 }],
    ] as const)
      expect(await refused({ key: 'k', ...more })).toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        details: { field },
      })
    expect(runs).toBe(0)
    await app.stop()
  })

  test('an app without a store, and one that has been stopped, say so', async () => {
    const app = new Mersal({ name: 'a', transport: memoryNetwork().transport(), logger: false })
    const call = app.once({ key: 'k' }, async () => 1)
    await expect(call).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    const stopped = open()
    await stopped.stop()
    const late = stopped.once({ key: 'k' }, async () => 1)
    await expect(late).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    await app.stop()
  })

  test('a response that JSON would change is refused with its path, and the key stays free', async () => {
    const app = open()
    const at = app.once({ key: 'date' }, async () => ({ order: { at: new Date(0) } }))
    await expect(at).rejects.toMatchObject({
      code: 'MERSAL_INVALID_BODY',
      details: { path: 'order.at' },
    })
    const large = app.once({ key: 'date' }, async () => 'x'.repeat(1024 * 1024))
    await expect(large).rejects.toMatchObject({ code: 'MERSAL_TOO_LARGE' })
    expect(await app.once({ key: 'date' }, async () => undefined)).toEqual({
      response: undefined,
      replayed: false,
    })
    expect(await app.once({ key: 'date' }, async () => 1)).toMatchObject({ replayed: true })
    await app.stop()
  })

  test('a repeat in the same process waits as long as it says, and ends with its signal', async () => {
    const app = open()
    const held = Promise.withResolvers<void>()
    const begun = Promise.withResolvers<void>()
    const first = app.once({ key: 'held' }, async () => {
      begun.resolve()
      await held.promise
      return 'first'
    })
    await begun.promise
    const never = async (): Promise<never> => {
      throw new Error('it ran twice')
    }
    await expect(app.once({ key: 'held', waitMs: 0 }, never)).rejects.toMatchObject({
      code: 'MERSAL_ONCE_RUNNING',
      details: { key: 'held' },
    })
    await expect(app.once({ key: 'held', waitMs: 50 }, never)).rejects.toMatchObject({
      code: 'MERSAL_ONCE_RUNNING',
    })
    const giveUp = new AbortController()
    const waiting = app.once({ key: 'held', signal: giveUp.signal }, never)
    giveUp.abort(new Error('the client went away'))
    await expect(waiting).rejects.toThrow('the client went away')
    const patient = app.once({ key: 'held' }, never)
    held.resolve()
    expect(await first).toEqual({ response: 'first', replayed: false })
    expect(await patient).toEqual({ response: 'first', replayed: true })
    await app.stop()
  })

  test('a message that is not awaited fails the request, and nothing is kept', async () => {
    const app = open()
    const loose = app.once({ key: 'loose' }, async (_, { publish }) => {
      void publish(Ordered, { order: 1 })
      return 1
    })
    await expect(loose).rejects.toMatchObject({ code: 'MERSAL_NOT_AWAITED' })
    expect(await app.once({ key: 'loose' }, async () => 2)).toEqual({
      response: 2,
      replayed: false,
    })
    await app.stop()
  })

  test('the janitor of an app that never calls once removes what others have kept', async () => {
    const clock = manualClock()
    const shared = memoryDatabase({ clock })
    const store = () => memoryStore({ database: shared })
    const options = { name: 'shop', logger: false, sendOnly: true, clock } as const
    const caller = new Mersal({
      ...options,
      store: store(),
      transport: memoryNetwork().transport(),
    })
    await caller.once({ key: 'short', keepMs: 100_000 }, async () => 1)
    const other = new Mersal({ ...options, store: store(), transport: memoryNetwork().transport() })
    await other.start()
    await clock.advance(200_000)
    expect(await caller.once({ key: 'short' }, async () => 2)).toMatchObject({ replayed: false })
    await Promise.all([other.stop(), caller.stop(), clock.advance(1000)])
  })

  test('the janitor of the app removes what was kept long enough', async () => {
    const clock = manualClock()
    const app = new Mersal({
      name: 'shop',
      store: memoryStore({ clock }),
      transport: memoryNetwork().transport(),
      logger: false,
      sendOnly: true,
      clock,
    })
    const call = () => app.once({ key: 'short', keepMs: 100_000 }, async () => clock.now())
    const { response: first } = await call()
    await app.start()
    await clock.advance(90_000)
    expect(await call()).toEqual({ response: first, replayed: true })
    await clock.advance(90_000)
    expect(await call()).toMatchObject({ replayed: false })
    await Promise.all([app.stop(), clock.advance(1000)])
  })
})
