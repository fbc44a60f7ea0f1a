import { describe, expect, test } from 'vitest'
import { MersalError } from '../../../../src/core/errors/errors.ts'
import type { ClaimedMessage, OutboxStorage, Settlement } from '../../../../src/core/outbox.ts'
import {
  calm,
  confirmed,
  ids,
  message,
  pass,
  relays,
  setup,
  type Setup,
  until,
} from '../support.ts'

const { keep, start } = relays()

/** A storage that gives up rows called `bad…` when it claims them, as stores do with damaged ones. */
function onDamaged(options: object): Setup {
  const made: Setup = keep(
    setup(options, {
      storage: {
        async claim(request) {
          const rows = await made.store.outbox.claim(request)
          const isBad = ({ message: { id } }: ClaimedMessage): boolean => id.startsWith('bad')
          for (const row of rows.filter(isBad)) {
            const settlement = burialOf(row)
            await made.store.outbox.settle([settlement])
            request.buried?.(row, settlement)
          }
          return rows.filter((row) => !isBad(row))
        },
        settle: (settlements) => made.store.outbox.settle(settlements),
      } satisfies Pick<OutboxStorage<never>, 'claim' | 'settle'>,
    }),
  )
  return made
}

function burialOf({ position, token }: ClaimedMessage): Extract<Settlement, { kind: 'dead' }> {
  const error = new MersalError('MERSAL_INVALID_BODY', 'no message')
  const fate = { reason: 'malformed', onDead: 'skip', maybePublished: false } as const
  return { kind: 'dead', position, token, error, ...fate }
}

describe('claiming', () => {
  test('committed messages are published and their rows go', async () => {
    const { add, relay, sent, store } = start()
    await add(message('a'), message('b', { key: 'k' }))
    await relay.drain()
    expect(sent().sort()).toEqual(['a', 'b'])
    expect((await store.admin.stats()).pending).toBe(0)
  })

  test('without any waker the poll timer finds the rows', async () => {
    const { add, clock, sent } = start({ pollIntervalMs: 400 }, { wakers: [] })
    await calm()
    await add(message('a'))
    await calm()
    expect(sent()).toEqual([])
    await clock.advance(400)
    await until(() => sent().length === 1, 'the publish')
  })

  test('a hint that comes during a claim is not lost', async () => {
    const { add, claims, hooks, relay, sent } = start()
    await calm()
    const gate = Promise.withResolvers<void>()
    hooks.beforeClaim = () => gate.promise
    relay.wake()
    const before = claims.length
    await until(() => claims.length === before + 1, 'the claim')
    hooks.beforeClaim = () => {}
    relay.wake()
    gate.resolve()
    await until(() => claims.length >= before + 2, 'a second claim without the clock moving')
    await add(message('a'))
    await until(() => sent().length === 1, 'the publish')
  })

  test('a full batch is followed by the next claim at once, while there is room in the window', async () => {
    const { add, claims, settlements, transport } = start({ batchSize: 10, window: 30 })
    // A destination that has never answered does not get the whole window.
    await add(message('first'))
    await until(() => settlements.length > 0, 'its settlement')
    transport.published.splice(0)
    await calm()
    transport.behaviour = undefined
    await add(...ids(100).map((id) => message(id)))
    await until(() => transport.published.length === 30, 'the window to fill')
    await calm()
    expect(transport.published).toHaveLength(30)
    expect(claims.every(({ limit }) => limit === 10)).toBe(true)
    for (const { answer } of transport.published.slice(0, 9)) answer(confirmed)
    await calm()
    expect(transport.published).toHaveLength(30)
    transport.published[9]?.answer(confirmed)
    await until(() => transport.published.length === 40, 'the next batch')
  })

  test('a full batch that held messages which are confirmed already is followed at once as well', async () => {
    const { add, clock, hooks, relay, settlements, transport } = start(
      { batchSize: 1, window: 10, claimMs: 1000, pollIntervalMs: 3_600_000 },
      { wakers: [] },
    )
    hooks.beforeSettle = () => new Promise<void>(() => {})
    await add(message('a'))
    relay.wake()
    await until(() => settlements.length === 1, 'the settle that does not end')
    await clock.advance(1001)
    await add(message('b'), message('c'))
    relay.wake()
    await until(() => transport.published.length === 3, 'the others, without the clock moving')
    expect(transport.published.map(({ message: { id } }) => id)).toEqual(['a', 'b', 'c'])
  })

  test('draining is not over when full claims brought nothing but rows that the storage gave up', async () => {
    const { add, log, relay, sent } = onDamaged({ batchSize: 1, window: 10 })
    await add(...ids(5).map((id) => message(`bad ${id}`)), message('good'))
    relay.start()
    await relay.drain()
    expect(sent()).toEqual(['good'])
    const told = log.filter(({ message: text }) => text.startsWith('a message was given up'))
    expect(told.map(({ fields }) => fields['id'])).toEqual(ids(5).map((id) => `bad ${id}`))
  })

  test('while it drains, the next batch does not wait for the rest between two full scans', async () => {
    const { add, clock, hooks, transport } = start({
      batchSize: 10,
      window: 100,
      pollIntervalMs: 10_000,
    })
    await calm()
    hooks.beforeClaim = () => clock.sleep(100)
    await add(...ids(40).map((id) => message(id)))
    const waited = await pass(clock, () => transport.published.length === 40, 5000, 'all of them')
    expect(waited).toBe(400)
  })

  test('a row that waits behind an earlier one of its key goes as soon as that one is settled', async () => {
    const { add, transport } = start()
    transport.behaviour = undefined
    await add(message('a', { key: 'k' }))
    await until(() => transport.published.length === 1, 'the first')
    await add(message('b', { key: 'k' }))
    await calm()
    expect(transport.published).toHaveLength(1)
    transport.published[0]?.answer(confirmed)
    await until(() => transport.published.length === 2, 'the second, without the clock moving')
  })

  test('a database that fails is tried again with backoff, and reported once', async () => {
    const { add, claims, clock, hooks, log, sent } = start({}, { wakers: [] })
    await calm()
    hooks.beforeClaim = () => {
      throw Object.assign(new Error('away'), { code: 'MERSAL_STORE_FAILED' })
    }
    await add(message('a'))
    await clock.advance(1000)
    const before = claims.length
    await clock.advance(5000)
    expect(claims.length - before).toBeGreaterThan(2)
    expect(claims.length - before).toBeLessThan(12)
    const errors = log.filter(({ level }) => level === 'error')
    expect(errors).toHaveLength(1)
    expect(errors[0]?.fields['code']).toBe('MERSAL_STORE_FAILED')
    hooks.beforeClaim = () => {}
    await pass(clock, () => sent().length === 1, 6000, 'the relay to recover')
    expect(log.filter(({ level }) => level === 'info')).toHaveLength(1)
  })

  test('unknown options are refused with a suggestion', () => {
    expect(() => setup({ polIntervalMs: 5 } as never)).toThrow(/did you mean 'pollIntervalMs'/)
  })
})
