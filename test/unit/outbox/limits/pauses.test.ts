import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import type { Pause } from '../../../../src/core/operations.ts'
import {
  calm,
  confirmed,
  ids,
  message,
  pass,
  relays,
  setup,
  testTransport,
  until,
} from '../support.ts'

const { keep, start } = relays()

/** A board in memory; what is asked of it may be made to fail. */
function board(): {
  list: () => Promise<Pause[]>
  set: (...pauses: (readonly [Pause['kind'], string])[]) => void
  reads: number
  broken: boolean
} {
  let pauses: Pause[] = []
  const made = {
    reads: 0,
    broken: false,
    set: (...given: (readonly [Pause['kind'], string])[]) => {
      pauses = given.map(([kind, name]) => ({ kind, name, since: 0, reason: '' }))
    },
    list: async () => {
      made.reads++
      if (made.broken) throw new Error('the database is away')
      return await Promise.resolve(pauses)
    },
  }
  return made
}

describe('pauses', () => {
  test('rows of a paused destination or key are not claimed from the first claim on, and go after it', async () => {
    const pauses = board()
    pauses.set(['destination', 'default/queue/down'], ['key', 'k'])
    const { add, clock, claims, sent, store } = start({ pollIntervalMs: 100 }, { pauses })
    await add(
      message('a', { to: 'down' }),
      message('b', { key: 'k' }),
      message('c', { key: 'l' }),
      message('d'),
    )
    await pass(clock, () => sent().length === 2, 500, 'the others')
    expect(sent()).toEqual(['c', 'd'])
    expect(
      claims.every(
        ({ exceptKeys, exceptDestinations }) =>
          exceptKeys?.[0] === 'k' && exceptDestinations?.[0] === 'default/queue/down',
      ),
    ).toBe(true)
    pauses.set()
    await pass(clock, () => sent().length === 4, 1500, 'what was paused')
    await calm()
    expect(await store.admin.stats()).toMatchObject({ pending: 0 })
  })

  test('an idle relay without an express lane reads the list only when it looks for rows, and a busy one every second', async () => {
    const pauses = board()
    const { add, clock, transport } = start(
      { pollIntervalMs: 60_000, express: false },
      { pauses, transport: testTransport() },
    )
    await calm()
    await clock.advance(50_000)
    expect(pauses.reads).toBe(1)
    transport.behaviour = () => undefined
    await add(message('a'))
    await pass(clock, () => transport.published.length === 1, 15_000, 'it is on its way')
    const before = pauses.reads
    await clock.advance(5000)
    expect(pauses.reads).toBeGreaterThanOrEqual(before + 4)
  })

  test('a pause is known within a second, however seldom the relay looks for rows', async () => {
    const pauses = board()
    const { add, clock, relay, sent } = start({ pollIntervalMs: 3_600_000 }, { pauses })
    await calm()
    await clock.advance(10_000)
    pauses.set(['destination', 'default/queue/q'])
    await clock.advance(1250)
    await add(message('a'))
    relay.wake()
    await calm()
    expect(sent()).toEqual([])
    pauses.set()
    // Nobody wakes the relay: the end of the pause does.
    await pass(clock, () => sent().length === 1, 1300, 'the message')
  })

  test('what is in hand when its key or destination is paused is given back uncharged, and nothing behind it leaves', async () => {
    const pauses = board()
    const { add, clock, settlements, store, transport } = start(
      { maxAttempts: 1, claimMs: 60_000 },
      { pauses },
    )
    transport.behaviour = undefined
    await add(
      ...ids(3).map((id) => message(id, { key: 'k' })),
      message('x', { key: 'l', to: 'other' }),
      message('y', { key: 'l' }),
    )
    await until(() => transport.published.length === 2, 'the first of each key')
    pauses.set(['key', 'k'], ['destination', 'default/queue/q'])
    await clock.advance(1500)
    for (const { answer } of transport.published) answer(confirmed)
    await calm()
    await clock.advance(100)
    // m0 and x were on their way already; m1 waits for its key, y for its destination.
    expect(transport.published.map(({ message: { id } }) => id)).toEqual(['m0', 'x'])
    const released = settlements.flat().filter(({ kind }) => kind === 'release')
    expect(released).toHaveLength(3)
    await clock.advance(5000)
    expect(transport.published).toHaveLength(2)
    const rows = await store.outbox.claim({ limit: 10, claimMs: 1, token: 'look' })
    expect(rows.map(({ attempt }) => attempt)).toEqual([1, 1, 1])
  })

  test('a transport that keeps the order itself is not handed what is paused behind what is not', async () => {
    const pauses = board()
    const transport = testTransport('per-key')
    transport.behaviour = undefined
    const { add, clock, hooks } = start({}, { pauses, transport })
    await calm()
    // The pause becomes known while the claim is under way.
    hooks.beforeClaim = async () => {
      delete hooks.beforeClaim
      pauses.set(['destination', 'default/queue/q'])
      await clock.advance(1300)
    }
    await add(
      message('a', { key: 'k', to: 'other' }),
      message('b', { key: 'k' }),
      message('c', { key: 'k', to: 'other' }),
    )
    await pass(clock, () => transport.published.length > 0, 2000, 'a')
    transport.published.at(-1)?.answer(confirmed)
    await clock.advance(3000)
    expect(transport.published.map(({ message: { id } }) => id)).toEqual(['a'])
  })

  test('nothing is claimed, and no express offer is made, while nobody knows what is paused', async () => {
    const pauses = board()
    pauses.broken = true
    const { add, claims, clock, log, relay, sent } = start({ pollIntervalMs: 100 }, { pauses })
    await add(message('a'))
    await clock.advance(3000)
    expect([claims.length, sent(), relay.express()]).toEqual([0, [], undefined])
    expect(log.filter(({ level }) => level === 'error')).toHaveLength(1)
    pauses.broken = false
    await pass(clock, () => sent().length === 1, 6000, 'the message')
    expect(relay.express()).toBeDefined()
  })

  test('what was claimed while the list could not be read is given back uncharged, and goes when it can', async () => {
    const pauses = board()
    const { add, clock, relay, sent, settlements } = start(
      { pollIntervalMs: 3_600_000 },
      { pauses, wakers: [] },
    )
    await calm()
    await clock.advance(300)
    pauses.broken = true
    await add(message('a', { key: 'k' }))
    relay.wake()
    await pass(clock, () => settlements.length > 0, 1000, 'the release')
    expect(settlements[0]).toMatchObject([{ kind: 'release' }])
    expect(sent()).toEqual([])
    pauses.broken = false
    await pass(clock, () => sent().length === 1, 6000, 'the message')
  })

  test('draining is not over when the list could not be read for a claim in the middle of a sweep', async () => {
    const pauses = board()
    pauses.set(['destination', 'default/queue/paused'])
    const { list } = pauses
    let failed = false
    pauses.list = async () => {
      await calm()
      if (failed || (await made.store.admin.stats()).claimed === 0) return list()
      failed = true
      throw new Error('away')
    }
    const made = keep(setup({}, { pauses, wakers: [], stretch: { sweep: 2, look: 2 } }))
    const away = (id: string): OutgoingMessage => message(id, { to: 'paused' })
    await made.add(away('1'), away('2'), message('a'), away('4'), away('5'))
    // Long enough for the list to be read again beside each claim.
    made.hooks.afterClaim = () => made.clock.sleep(300)
    made.relay.start()
    let drained = false
    void made.relay.drain().then(() => (drained = true))
    await pass(made.clock, () => drained, 30_000, 'the end of the draining')
    expect([failed, made.sent()]).toEqual([true, ['a']])
  })

  test('the express lane gives back what is paused', async () => {
    const pauses = board()
    const { addExpress, clock, relay, store, transport } = start(
      { pollIntervalMs: 100 },
      { pauses },
    )
    await calm()
    pauses.set(['key', 'k'])
    await clock.advance(1300)
    const offer = relay.express()!
    offer.dispatch(
      await addExpress(
        offer.token,
        offer.graceMs,
        message('a', { key: 'k' }),
        message('b', { key: 'l' }),
      ),
    )
    await calm()
    await clock.advance(500)
    expect(transport.published.map(({ message: { id } }) => id)).toEqual(['b'])
    expect(await store.admin.stats()).toMatchObject({ pending: 1, claimed: 0 })
  })

  test('the list is read at most four times a second under load, and about once a second at rest', async () => {
    const pauses = board()
    const { clock, relay } = start({}, { pauses })
    await clock.advance(10_000)
    expect(pauses.reads).toBeGreaterThanOrEqual(9)
    expect(pauses.reads).toBeLessThanOrEqual(12)
    const before = pauses.reads
    for (let ms = 0; ms < 1000; ms += 10) {
      relay.wake()
      await clock.advance(10)
    }
    expect(pauses.reads - before).toBeLessThanOrEqual(5)
  })
})
