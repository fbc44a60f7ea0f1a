import { describe, expect, test } from 'vitest'
import {
  calm,
  confirmed,
  ids,
  message,
  pass,
  refusedOnce,
  relays,
  unavailable,
  until,
} from '../support.ts'

const { start } = relays()

describe('destinations', () => {
  test('a destination that does not answer holds up only itself, and no attempt is charged', async () => {
    const { add, claims, clock, log, store, transport, sent } = start({
      maxAttempts: 1,
      pollIntervalMs: 100,
    })
    let down = true
    transport.behaviour = ({ to }) => (down && to.name === 'down' ? unavailable : confirmed)
    await add(...ids(5).map((id) => message(id, { to: 'down' })))
    await calm()
    await clock.advance(50)
    await add(...ids(5).map((id) => message(`other-${id}`, { to: 'up' })))
    await pass(
      clock,
      () => sent().filter((id) => id.startsWith('other')).length === 5,
      100,
      'the other destination',
    )
    expect(claims.at(-1)?.exceptDestinations).toEqual(['default/queue/down'])
    await clock.advance(60_000)
    const tries = transport.published.filter(({ message }) => message.to.name === 'down').length
    expect(tries).toBeLessThan(20) // five at first, then one probe each time, up to 30 s apart
    expect(log.filter(({ level }) => level === 'warn')).toHaveLength(1)
    down = false
    await pass(
      clock,
      () =>
        transport.published.filter(({ message }) => message.to.name === 'down').length ===
        tries + 5,
      31_000,
      'recovery',
    )
    await calm()
    expect(await store.admin.stats()).toMatchObject({ pending: 0, dead: 0 })
  })

  test('a refusal is said when it happens, with its cause and when it is tried again, and once a minute for each destination', async () => {
    const { add, clock, log, transport } = start({
      maxAttempts: 100,
      pollIntervalMs: 100,
      retry: { firstMs: 1000, longestMs: 1000 },
    })
    transport.behaviour = ({ to }) => (to.name === 'good' ? confirmed : refusedOnce)
    await add(
      message('a', { to: 'bad' }),
      message('b', { to: 'worse' }),
      message('c', { to: 'good' }),
    )
    await clock.advance(50_000)
    const warnings = log.filter(({ level }) => level === 'warn').map(({ fields }) => fields)
    expect(warnings).toMatchObject([
      {
        id: 'a',
        to: 'default/queue/bad',
        attempt: 1,
        error: 'Error: not now',
        againInMs: expect.any(Number),
      },
      { id: 'b', to: 'default/queue/worse', attempt: 1 },
    ])
    await clock.advance(20_000)
    expect(log.filter(({ level }) => level === 'warn')).toHaveLength(4)
  })

  test('a half-open destination gets one probe; the others wait in the outbox', async () => {
    const { add, clock, transport } = start({ pollIntervalMs: 100 })
    transport.behaviour = () => unavailable
    await add(...ids(20).map((id) => message(id)))
    await calm()
    const before = transport.published.length
    transport.behaviour = undefined
    await pass(clock, () => transport.published.length > before, 2000, 'the probe')
    await calm()
    expect(transport.published).toHaveLength(before + 1)
    transport.behaviour = () => confirmed
    transport.published.at(-1)?.answer(confirmed)
    await pass(clock, () => transport.published.length === before + 20, 2000, 'the others')
  })

  test('a destination on an unknown transport waits with a clear warning, and others go on', async () => {
    const { add, clock, log, sent, store } = start()
    await add(
      message('a', { transport: 'elsewhere' }),
      message('b'),
      message('c', { transport: 'elsewhere' }),
      message('d', { transport: 'elsewhere' }),
    )
    await until(() => sent().length === 1, 'the known destination')
    expect(sent()).toEqual(['b'])
    await clock.advance(3000)
    expect(
      log.some(
        ({ level, fields }) =>
          level === 'warn' && String(fields['error']).includes("no transport called 'elsewhere'"),
      ),
    ).toBe(true)
    expect(await store.admin.stats()).toMatchObject({ pending: 3, dead: 0 })
  })
})
