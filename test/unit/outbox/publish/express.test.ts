import { describe, expect, test } from 'vitest'
import { calm, confirmed, message, pass, refusedOnce, relays, setup, until } from '../support.ts'

const { start } = relays()

describe('the express lane', () => {
  test('publishes from memory without a claim', async () => {
    const { addExpress, claims, clock, relay, settlements, store, transport } = start(
      {},
      { wakers: [] },
    )
    await calm()
    const before = claims.length
    const offer = relay.express()
    const rows = await addExpress(
      offer?.token ?? '',
      offer?.graceMs ?? 0,
      message('a', { key: 'k' }),
      message('b', { key: 'k' }),
      message('c'),
    )
    expect(rows).toHaveLength(3)
    offer?.dispatch(rows)
    await pass(clock, () => settlements.flat().length === 3, 10, 'the settlements')
    await calm()
    expect(transport.calls).toEqual([['a', 'c'], ['b']])
    expect(
      settlements.flat().every(({ kind, token }) => kind === 'sent' && token === offer?.token),
    ).toBe(true)
    expect((await store.admin.stats()).pending).toBe(0)
    expect(claims.length - before).toBeLessThanOrEqual(1)
  })

  test('a first refusal leaves the key to the claims', async () => {
    const { addExpress, clock, relay, settlements, sent, transport } = start()
    transport.behaviour = ({ id }, time) => (id === 'a' && time === 1 ? refusedOnce : confirmed)
    const offer = relay.express()
    offer?.dispatch(
      await addExpress(
        offer.token,
        offer.graceMs,
        message('a', { key: 'k' }),
        message('b', { key: 'k' }),
      ),
    )
    await until(() => settlements.length > 0, 'the settle')
    expect(settlements[0]).toMatchObject([{ kind: 'release' }, { kind: 'release' }])
    await pass(clock, () => sent().length === 3, 100, 'a claim takes them')
    expect(sent()).toEqual(['a', 'a', 'b'])
  })

  test('a unit that took more than half of the grace is given back', async () => {
    const { addExpress, clock, relay, settlements } = start(
      { expressGraceMs: 1000 },
      { wakers: [] },
    )
    const offer = relay.express()
    const rows = await addExpress(offer?.token ?? '', offer?.graceMs ?? 0, message('a'))
    await clock.advance(500)
    offer?.dispatch(rows)
    await until(() => settlements.length > 0, 'the settle')
    expect(settlements[0]).toMatchObject([{ kind: 'release' }])
  })

  test('P6: what is handed over at the last moment still has time for its answer, and is not published twice', async () => {
    const { addExpress, clock, relay, settlements, transport } = start(
      { expressGraceMs: 1000 },
      { wakers: [] },
    )
    transport.behaviour = () => undefined
    const offer = relay.express()
    const rows = await addExpress(offer?.token ?? '', offer?.graceMs ?? 0, message('a'))
    await clock.advance(490)
    offer?.dispatch(rows)
    await until(() => transport.published.length === 1, 'the publish')
    await clock.advance(150)
    await calm()
    expect(transport.published[0]?.signal?.aborted).toBe(false)
    transport.published[0]?.answer(confirmed)
    await pass(clock, () => settlements.length > 0, 10, 'the settle')
    expect(settlements[0]).toMatchObject([{ kind: 'sent' }])
  })

  test('confirmed messages are settled together a moment later, and at once when something hurries', async () => {
    const { addExpress, clock, relay, settlements, transport } = start({}, { wakers: [] })
    const send = async (id: string, partitionKey?: string): Promise<void> => {
      const offer = relay.express()
      const sent = partitionKey === undefined ? message(id) : { ...message(id), partitionKey }
      offer?.dispatch(await addExpress(offer.token, offer.graceMs, sent))
      await calm()
    }
    await send('a')
    await clock.advance(19)
    await send('b')
    expect(settlements).toEqual([])
    await clock.advance(1)
    await until(() => settlements.length === 1, 'the settle')
    expect(settlements[0]).toMatchObject([{ kind: 'sent' }, { kind: 'sent' }])
    await send('c')
    // The next message of a key waits for the row before it.
    await send('d', 'key')
    await clock.advance(1)
    expect(settlements).toHaveLength(1)
    await clock.advance(1)
    await until(() => settlements.length === 2, 'the settle of a key')
    expect(settlements[1]).toMatchObject([{ kind: 'sent' }, { kind: 'sent' }])
    await send('e')
    transport.behaviour = () => refusedOnce
    await send('f')
    expect(settlements[2]).toMatchObject([{ kind: 'sent' }, { kind: 'release' }])
  })

  test('offers of the same second share a token, and later ones do not', async () => {
    const { clock, relay } = start({}, { wakers: [] })
    const token = (): string | undefined => relay.express()?.token
    const first = token()
    await clock.advance(999)
    expect(token()).toBe(first)
    await clock.advance(1)
    const second = token()
    expect(second).not.toBe(first)
    await clock.advance(5000)
    expect([first, second]).not.toContain(token())
  })

  test('a unit that does not fit into the window is given back', async () => {
    const { addExpress, relay, settlements } = start({ batchSize: 2, window: 2 }, { wakers: [] })
    await calm()
    const offer = relay.express()
    offer?.dispatch(
      await addExpress(offer.token, offer.graceMs, message('a'), message('b'), message('c')),
    )
    await until(() => settlements.length >= 1, 'the settle')
    expect(settlements[0]?.map(({ kind }) => kind)).toEqual(['release', 'release', 'release'])
  })

  test('is not offered before the start, when full, after the stop or when switched off', async () => {
    const idle = setup()
    expect(idle.relay.express()).toBeUndefined()
    const off = start({ express: false })
    expect(off.relay.express()).toBeUndefined()
    await off.relay.stop()
    const full = start({ batchSize: 1, window: 1 })
    full.transport.behaviour = undefined
    await full.add(message('a'))
    await until(() => full.transport.published.length === 1, 'the publish')
    expect(full.relay.express()).toBeUndefined()
    full.transport.published[0]?.answer(confirmed)
    await until(() => full.relay.express() !== undefined, 'room')
    await full.relay.stop()
    expect(full.relay.express()).toBeUndefined()
  })

  test('an offer that was cancelled or used publishes nothing more', async () => {
    const { addExpress, relay, transport, log } = start({}, { wakers: [] })
    const offer = relay.express()
    const rows = await addExpress(offer?.token ?? '', offer?.graceMs ?? 0, message('a'))
    offer?.cancel()
    offer?.dispatch(rows)
    await calm()
    expect(transport.published).toHaveLength(0)
    expect(log.filter(({ level }) => level === 'error')).toHaveLength(1)
  })
})
