import { describe, expect, test } from 'vitest'
import { ids, message, pass, relays, setup, type Setup, until } from '../support.ts'

const { keep } = relays()

describe('a message that kills its relay', () => {
  /** Claims that nobody gave back. */
  async function burn({ store, clock }: Setup, times: number): Promise<void> {
    for (let time = 0; time < times; time++) {
      await store.outbox.claim({ limit: 100, claimMs: 10, token: `lost-${time}` })
      await clock.advance(20)
    }
  }

  test('is published alone, and its neighbours are not charged', async () => {
    const found = keep(setup({ maxAttempts: 2 }))
    const { add, claims, relay, settlements, transport } = found
    await add(...ids(20).map((id) => message(id)))
    await burn(found, 2)
    relay.start()
    await relay.drain()
    expect(settlements[0]?.map(({ kind }) => kind)).toEqual(
      Array.from({ length: 20 }, () => 'release'),
    )
    expect(claims.map(({ limit }) => limit).slice(0, 4)).toEqual([500, 1, 1, 1])
    expect(transport.calls.every((call) => call.length === 1)).toBe(true)
    expect(transport.calls).toHaveLength(20)
  })

  test('is given up unpublished after three more attempts, and only in slow mode', async () => {
    const found = keep(setup({ maxAttempts: 2 }))
    const { add, relay, store, transport } = found
    await add(message('killer'))
    await burn(found, 5)
    await add(message('innocent'))
    relay.start()
    await relay.drain()
    expect(transport.calls).toEqual([['innocent']])
    expect(await store.admin.deadLetters.list()).toMatchObject([
      { id: 'killer', reason: 'kills-relay', maybePublished: true },
    ])
  })

  test('closes the express lane until 16 claims in a row held no suspect', async () => {
    const found = keep(setup({ maxAttempts: 2 }))
    const { add, claims, clock, relay } = found
    await add(message('a'), message('b'))
    await burn(found, 2)
    relay.start()
    await until(() => claims.length >= 4, 'the claims one by one')
    expect(relay.express()).toBeUndefined()
    await pass(clock, () => claims.length > 24, 30_000, 'clean claims')
    expect(relay.express()).toBeDefined()
    expect(claims.at(-1)?.limit).toBe(500)
  })
})
