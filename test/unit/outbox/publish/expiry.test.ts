import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import type { Events } from '../../../../src/core/telemetry.ts'
import { channel } from 'node:diagnostics_channel'
import {
  calm,
  confirmed,
  message,
  pass,
  refusedForGood,
  relays,
  testTransport,
  unknown,
} from '../support.ts'

const { start } = relays()
const START = Date.UTC(2026, 0, 1)
/** What every message of an app carries. */
const ours = { 'sent-at': new Date(START - 60_000).toISOString(), sender: 'shop' }

/** A message that expires so many milliseconds after the clock of the test began. */
function expiring(atMs: number, ...given: Parameters<typeof message>): OutgoingMessage {
  const expiresAt = new Date(START + atMs).toISOString()
  return { ...message(...given), headers: { ...ours, 'expires-at': expiresAt } }
}

function expiries(): { readonly seen: string[] } & Disposable {
  const seen: string[] = []
  const listener = (event: unknown): void => {
    seen.push((event as Events['mersal:expired']).id)
  }
  channel('mersal:expired').subscribe(listener)
  return {
    seen,
    [Symbol.dispose]() {
      channel('mersal:expired').unsubscribe(listener)
    },
  }
}

describe('messages that have expired', () => {
  test('are not published, leave their place to the next one, and are counted once', async () => {
    using told = expiries()
    const { add, clock, relay, sent, store } = start({ onExpired: 'discard' }, { wakers: [] })
    await clock.advance(100)
    await add(
      expiring(100, 'old'),
      expiring(50, 'k1', { key: 'k' }),
      expiring(60_000, 'k2', { key: 'k' }),
      expiring(99, 'k3', { key: 'k' }),
      message('k4', { key: 'k' }),
      expiring(101, 'young'),
    )
    await relay.drain()
    expect(sent().sort()).toEqual(['k2', 'k4', 'young'])
    expect(told.seen.sort()).toEqual(['k1', 'k3', 'old'])
    expect(await store.admin.stats()).toMatchObject({ pending: 0, dead: 0 })
  })

  test('in the middle of what is handed over together stop it, on a transport that keeps the order', async () => {
    const transport = testTransport('per-key')
    const { add, clock, relay, sent } = start({}, { wakers: [], transport })
    await clock.advance(100)
    await add(
      message('k1', { key: 'k' }),
      expiring(50, 'k2', { key: 'k' }),
      message('k3', { key: 'k' }),
    )
    await relay.drain()
    expect(sent()).toEqual(['k1', 'k3'])
  })

  test('P2 P5: become dead letters, and hold back nothing', async () => {
    using told = expiries()
    const { add, clock, relay, sent, store } = start({}, { wakers: [] })
    await clock.advance(100)
    await add(expiring(50, 'k1', { key: 'k' }), message('k2', { key: 'k' }))
    await relay.drain()
    expect(sent()).toEqual(['k2'])
    expect(told.seen).toEqual(['k1'])
    const [letter, ...others] = await store.admin.deadLetters.list()
    expect(letter).toMatchObject({ id: 'k1', reason: 'expired', blocksKey: false })
    expect(letter?.error).toContain('MERSAL_EXPIRED')
    expect(others).toEqual([])
  })

  test('P5: while they waited for an answer leave their key only when no late frame can come', async () => {
    const { add, clock, relay, sent, store, transport } = start(
      { claimMs: 1000, onExpired: 'discard' },
      { wakers: [] },
    )
    transport.behaviour = ({ id }) => (id === 'k1' ? unknown : confirmed)
    await add(expiring(300, 'k1', { key: 'k' }), message('k2', { key: 'k' }))
    relay.wake()
    const took = await pass(clock, () => sent().includes('k2'), 9000, 'the next of the key')
    const tries = transport.published.filter(({ message: { id } }) => id === 'k1')
    expect(tries.length).toBeGreaterThanOrEqual(1)
    // The last try is before 300, and its frame may be late by one claim time.
    expect(took).toBeGreaterThanOrEqual(1000)
    await calm()
    expect((await store.admin.stats()).dead).toBe(0)
  })

  // The row of the first is given back with all of its key, and a claim ends it before it publishes
  // the second: so the lane deletes nothing, and the order of the key holds.
  test.each(['dead-letter', 'discard'] as const)(
    'P2 P5: in the express lane are left to the claims, with the later ones of their key (%s)',
    async (onExpired) => {
      using told = expiries()
      const { addExpress, clock, relay, sent, settlements, store } = start(
        { onExpired },
        { wakers: [] },
      )
      await clock.advance(100)
      const offer = relay.express()
      const rows = await addExpress(
        offer?.token ?? '',
        offer?.graceMs ?? 0,
        expiring(100, 'k1', { key: 'k' }),
        message('k2', { key: 'k' }),
        expiring(99, 'a'),
        message('b'),
      )
      offer?.dispatch(rows)
      expect(rows.length).toBe(4)
      await pass(clock, () => settlements.length > 0, 100, 'the settlements of the lane')
      const kinds = settlements.flat().filter(({ token }) => token === offer?.token)
      expect(kinds.map(({ kind }) => kind).sort()).toEqual([
        'release',
        'release',
        'release',
        'sent',
      ])
      await relay.drain()
      expect(sent()).toEqual(['b', 'k2'])
      expect(told.seen.sort()).toEqual(['a', 'k1'])
      const letters = await store.admin.deadLetters.list()
      expect(letters.map(({ id, reason }) => `${id} ${reason}`).sort()).toEqual(
        onExpired === 'discard' ? [] : ['a expired', 'k1 expired'],
      )
    },
  )

  // The first waits for its answer when the time of the second comes: what was handed over before
  // may be published, what is handed over later may not.
  test('P5: behind one of their key that is on its way leave their place when it is confirmed', async () => {
    const { add, clock, relay, sent, transport } = start({ onExpired: 'discard' }, { wakers: [] })
    transport.behaviour = ({ id }) => (id === 'k1' ? undefined : confirmed)
    await add(
      message('k1', { key: 'k' }),
      expiring(200, 'k2', { key: 'k' }),
      message('k3', { key: 'k' }),
    )
    relay.wake()
    await pass(clock, () => transport.published.length === 1, 100, 'the first of the key')
    await clock.advance(200)
    transport.published[0]?.answer(confirmed)
    await pass(clock, () => sent().length === 2, 100, 'the last of the key')
    expect(sent()).toEqual(['k1', 'k3'])
  })

  test.each([
    ['a word', { ...ours, 'expires-at': 'tomorrow' }],
    ['a number', { ...ours, 'expires-at': '5' }],
    ['another form of a time', { ...ours, 'expires-at': '2001-05-01T00:00:00Z' }],
    ['no day of any month', { ...ours, 'expires-at': '2001-02-31T00:00:00.000Z' }],
    ['of somebody else', { 'expires-at': '2001-05-01T00:00:00.000Z' }],
    ['without a sender', { 'sent-at': ours['sent-at'], 'expires-at': '2001-05-01T00:00:00.000Z' }],
    ['sent at no time', { ...ours, 'sent-at': '5', 'expires-at': '2001-05-01T00:00:00.000Z' }],
  ])('a time that is %s is none, and never ends', async (_, headers) => {
    const { add, relay, sent } = start({}, { wakers: [] })
    await add({ ...message('a'), headers })
    await relay.drain()
    expect(sent()).toEqual(['a'])
  })

  test('ten thousand of one key leave their places in one claim', async () => {
    const options = { batchSize: 10_000, window: 10_000, onExpired: 'discard' } as const
    const { add, clock, relay, sent, store, claims } = start(options, { wakers: [] })
    await clock.advance(100)
    const old = Array.from({ length: 9999 }, (__, at) => expiring(50, `k${at}`, { key: 'k' }))
    await add(...old, message('last', { key: 'k' }))
    const before = claims.length
    await relay.drain()
    expect(sent()).toEqual(['last'])
    expect(await store.admin.stats()).toMatchObject({ pending: 0, dead: 0 })
    expect(claims.length - before).toBeLessThan(5)
  })

  test('that an operator puts back become dead letters again, with their bytes', async () => {
    const { add, clock, relay, sent, store, transport } = start({ maxAttempts: 1 }, { wakers: [] })
    transport.behaviour = () => refusedForGood
    await add(expiring(50, 'a'), expiring(50, 'b', { key: 'k' }))
    await relay.drain()
    await clock.advance(100)
    transport.behaviour = () => confirmed
    const given = await store.admin.deadLetters.list()
    expect(given.map(({ reason }) => reason)).toEqual(['unroutable', 'unroutable'])
    expect(await store.admin.deadLetters.retry(given.map(({ key }) => key))).toBe(2)
    await relay.drain()
    const again = await store.admin.deadLetters.list()
    expect(sent().length).toBe(2)
    const found = again.map(({ id, reason, body }) => `${id} ${reason} ${body.join()}`)
    expect(found.sort()).toEqual(['a expired 1', 'b expired 1'])
  })

  test('with a delay: it is neither early nor published after its end', async () => {
    const { add, clock, sent, store } = start({ pollIntervalMs: 3_600_000 })
    await add(expiring(900, 'a', { delayMs: 500 }), expiring(400, 'b', { delayMs: 500 }))
    await pass(clock, () => sent().length === 1, 600, 'the first')
    expect(sent()).toEqual(['a'])
    await pass(clock, () => true, 10, 'the settlement')
    expect((await store.admin.stats()).pending).toBe(0)
  })
})
