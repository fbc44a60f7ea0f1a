import { describe, expect, test } from 'vitest'
import { command } from '../../../src/index.ts'
import { assemblyOf } from '../../../src/app/mersal.ts'
import { manualClock, type ManualClock } from '../../../src/testing/index.ts'
import { rejection } from '../../unit/support/errors.ts'
import { limiters, type Limiter } from './limiters.ts'
import { type Place, Noted, places } from './places.ts'

const Note = command<{ who: string }>('notes.take')

const cases = Object.entries(places).flatMap(([place, open]) =>
  Object.entries(limiters).map(([limiter, make]) => ({ place, open, limiter, make })),
)

/** A's work holds the limiter while `meanwhile` queues up there, and only then lets it go. */
async function holding(limit: Limiter, meanwhile: () => void): Promise<void> {
  const queued = Promise.withResolvers<void>()
  const held = limit(() => queued.promise)
  // Outside of A's context, as another request would come.
  setImmediate(() => {
    meanwhile()
    queued.resolve()
  })
  await held
}

const note =
  (place: Place, who: string) =>
  async (tx: unknown, { publish }: { publish: Place['app']['publish'] }): Promise<string> => {
    await place.write(tx, who)
    await publish(Noted, { who })
    return who
  }

/** Begins work of request B when A calls it, in the context of nobody. */
function request<Result>(work: () => Promise<Result>) {
  const { promise, resolve } = Promise.withResolvers<Result>()
  const outcome = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  return { begin: () => resolve(work()), outcome }
}

describe.each(cases)('on $place, with $limiter shared by two requests', ({ open, make }) => {
  test('B keeps its commit when A, in whose context it ran, rolls back', async () => {
    await using place = await open()
    const limit = make()
    const b = request(() => limit(() => place.app.transaction(note(place, 'B'))))
    const a = place.app.transaction(async (tx, { publish }) => {
      await place.write(tx, 'A')
      await publish(Noted, { who: 'A' })
      await holding(limit, b.begin)
      throw new Error('A changes its mind')
    })
    await expect(a).rejects.toThrow('A changes its mind')
    expect(await b.outcome).toEqual({ value: 'B' })
    expect(await place.written()).toEqual(['B'])
    expect(await place.pending()).toBe(1)
  })

  test('A keeps its commit when B, which ran in its context, fails', async () => {
    await using place = await open()
    const limit = make()
    const b = request(() =>
      limit(() =>
        place.app.transaction(async (tx, sender) => {
          await note(place, 'B')(tx, sender)
          throw new Error('B fails')
        }),
      ),
    )
    await place.app.transaction(async (tx, sender) => {
      await holding(limit, b.begin)
      await note(place, 'A')(tx, sender)
    })
    expect(await b.outcome).toMatchObject({ error: { message: 'B fails' } })
    expect(await place.written()).toEqual(['A'])
    expect(await place.pending()).toBe(1)
  })

  test('what B sends by app.publish() inside its own transaction belongs to B', async () => {
    await using place = await open()
    const limit = make()
    const b = request(() =>
      limit(() => place.app.transaction(() => place.app.publish(Noted, { who: 'B' }))),
    )
    const a = place.app.transaction(async () => {
      await holding(limit, b.begin)
      throw new Error('A changes its mind')
    })
    await expect(a).rejects.toThrow('A changes its mind')
    expect(await b.outcome).toHaveProperty('value')
    expect(await place.pending()).toBe(1)
  })

  test('B keeps its commit when the handler, in whose context it ran, fails', async () => {
    await using place = await open({ receive: { maxDeliveries: 1, immediateRetries: 0 } })
    const limit = make()
    const b = request(() => limit(() => place.app.transaction(note(place, 'B'))))
    place.app.handle(Note, async (_, { tx }) => {
      await place.write(tx, 'handler')
      await holding(limit, b.begin)
      throw new Error('the handler fails')
    })
    await place.app.start()
    await place.app.direct.sendLocal(Note, { who: 'handler' })
    expect(await b.outcome).toEqual({ value: 'B' })
    await assemblyOf(place.app).receiver.idle()
    expect(await place.written()).toEqual(['B'])
  })

  test('the part of a handler that ran in the context of a request joins the handler, by its evidence', async () => {
    await using place = await open()
    // With one writer, request and handler cannot both have a transaction open.
    if (place.writers === 'one') return
    const limit = make()
    const begun = Promise.withResolvers<void>()
    const part = Promise.withResolvers<void>()
    place.app.handle(Note, async (_, context) => {
      begun.resolve()
      await part.promise
      await limit(() => place.app.transaction(note(place, 'handler'), { join: context }))
    })
    await place.app.start()
    await place.app.direct.sendLocal(Note, { who: 'handler' })
    await begun.promise
    const a = place.app.transaction(async () => {
      await holding(limit, part.resolve)
      throw new Error('A changes its mind')
    })
    await expect(a).rejects.toThrow('A changes its mind')
    await assemblyOf(place.app).receiver.idle()
    expect(await place.written()).toEqual(['handler'])
    expect(await place.pending()).toBe(1)
  })

  test('within() a handle of B belongs to B, in the order of its sends, whatever context it is called in', async () => {
    await using place = await open()
    if (place.writers === 'one') return
    const limit = make()
    const begun = Promise.withResolvers<void>()
    const part = Promise.withResolvers<void>()
    const b = place.app.transaction(async (tx, { publish }) => {
      begun.resolve()
      await part.promise
      await publish(Noted, { who: 'first' })
      await limit(() => place.app.within(tx).publish(Noted, { who: 'second' }))
    })
    await begun.promise
    const a = place.app.transaction(async () => {
      await holding(limit, part.resolve)
      throw new Error('A changes its mind')
    })
    await expect(a).rejects.toThrow('A changes its mind')
    await b
    expect(await place.sent()).toEqual(['first', 'second'])
  })
})

describe.each(Object.entries(places))('on %s', (_, open) => {
  test('a call inside is a transaction of its own, which is said once and with both remedies', async () => {
    await using place = await open()
    const inside = place.writers === 'many' ? ['first', 'second'] : []
    const outer = place.app.transaction(async (tx, sender) => {
      await note(place, 'outer')(tx, sender)
      for (const who of inside) await place.app.transaction(note(place, who))
      throw new Error('only the outer one')
    })
    await expect(outer).rejects.toThrow('only the outer one')
    expect(await place.written()).toEqual(inside)
    const told = place.warnings.filter((text) => text.includes('inside an open transaction'))
    expect(told).toHaveLength(inside.length > 0 ? 1 : 0)
    for (const text of told)
      for (const remedy of ['{ join: sender }', '{ join: false }']) expect(text).toContain(remedy)
  })

  test('with the sender of the outer one it is part of that one', async () => {
    await using place = await open()
    const outer = place.app.transaction(async (tx, sender) => {
      await note(place, 'outer')(tx, sender)
      await place.app.transaction(note(place, 'inner'), { join: sender })
      throw new Error('both')
    })
    await expect(outer).rejects.toThrow('both')
    expect(await place.written()).toEqual([])
    await place.app.transaction((_tx, sender) =>
      place.app.transaction(note(place, 'inner'), { join: sender }),
    )
    expect(await place.written()).toEqual(['inner'])
    expect(place.warnings).toEqual([])
  })
})

describe('a transaction of its own that waits for the one around it', () => {
  test('on SQLite ends with an error that says how to join, and so does drain()', async () => {
    const clock = manualClock()
    await using place = await places['SQLite']!({ clock, outbox: {} }, { busyTimeoutMs: 50 })
    await place.app.start()
    await place.app.transaction(async (tx, sender) => {
      await note(place, 'outer')(tx, sender)
      const error = await rejection(
        place.app.transaction(note(place, 'inner')),
        'MERSAL_STORE_BUSY',
      )
      expect(error.message).toContain('{ join: sender }')
      const draining = await advancing(clock, rejection(place.app.drain(), 'MERSAL_STORE_BUSY'))
      expect(draining.message).toContain('drain() was called inside an open unit')
    })
    expect(await place.written()).toEqual(['outer'])
  })

  test.skipIf(places['PostgreSQL'] === undefined)(
    'on PostgreSQL with a full pool ends with an error that says how to join',
    async () => {
      const clock = manualClock()
      await using place = await places['PostgreSQL']!({ clock }, { max: 1 })
      await place.app.transaction(async (tx, sender) => {
        await note(place, 'outer')(tx, sender)
        const inner = rejection(
          place.app.transaction(note(place, 'inner'), { join: false }),
          'MERSAL_STORE_BUSY',
        )
        const error = await advancing(clock, inner)
        expect(error.message).toContain('{ join: sender }')
      })
      // The connection that came too late was given back.
      await place.app.transaction(note(place, 'later'))
      expect(await place.written()).toEqual(['later', 'outer'])
    },
  )
})

async function advancing<Result>(clock: ManualClock, promise: Promise<Result>): Promise<Result> {
  const state = { over: false }
  void promise.catch(() => {}).then(() => (state.over = true))
  while (!state.over) await clock.advance(500)
  return promise
}
