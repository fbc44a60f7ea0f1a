import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { command, event } from '../../../../src/index.ts'
import { capture, manualClock } from '../../../../src/testing/index.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

interface First {
  readonly name: string
}
interface Second {
  readonly first: string
  readonly last: string
}
const schema = z.object({ first: z.string(), last: z.string(), country: z.string() })
const upcast = {
  1: ({ name }: First) => ({ first: name.split(' ')[0], last: name.split(' ')[1] }),
  2: (old: Second) => ({ ...old, country: 'GB' }),
}
const Registered = event('students.registered', schema, { version: 3, upcast })
const present = { first: 'Ada', last: 'Lovelace', country: 'GB' }

async function deliverTo(type: typeof Registered, body: unknown, headers = {}) {
  const { app, transport } = openShop()
  const seen: unknown[] = []
  app.handle(type, (given) => void seen.push(given))
  await app.start()
  const disposition = await transport.deliver('shop', {
    type: type.name,
    body: json(body),
    headers,
  })
  await app.stop()
  return { disposition, seen }
}

describe('a version of a type', () => {
  test('travels in a header, from the second one on', async () => {
    const { app, rows } = openShop()
    const Plain = event<{ n: number }>('plain', undefined, { version: 1 })
    await app.transaction(async (_, { publish }) => {
      await publish(Registered, present)
      await publish(Plain, { n: 1 })
    })
    const sent = await rows()
    expect(sent.map(({ headers }) => headers['message-version'])).toEqual(['3', undefined])
    await app.stop()
  })

  test('is no header that a sender may set', async () => {
    const { app } = openShop()
    const send = app.transaction((_, { publish }) =>
      publish(Registered, present, { headers: { 'message-version': '1' } }),
    )
    await expect(send).rejects.toMatchObject({ code: 'MERSAL_INVALID_MESSAGE' })
    await app.stop()
  })

  test.each([
    [undefined, { name: 'Ada Lovelace' }],
    ['1', { name: 'Ada Lovelace' }],
    ['2', { first: 'Ada', last: 'Lovelace' }],
    ['3', present],
  ])('%s reaches the handler as the present one', async (version, body) => {
    const headers = version === undefined ? {} : { 'message-version': version }
    const { disposition, seen } = await deliverTo(Registered, body, headers)
    expect(disposition).toEqual({ kind: 'ack' })
    expect(seen).toEqual([present])
  })

  test('is that of the body in a rehearsal', async () => {
    const { app } = openShop()
    const seen: unknown[] = []
    app.handle(Registered, (body) => void seen.push(body))
    await capture(app).handle(Registered, present)
    expect(seen).toEqual([present])
    await app.stop()
  })

  test.each(['0', '-1', '1.5', 'two', '', '9999999999'])(
    "of '%s' makes a dead letter",
    async (version) => {
      const headers = { 'message-version': version }
      const { disposition, seen } = await deliverTo(Registered, present, headers)
      expect(disposition).toMatchObject({ kind: 'reject', reason: 'undecodable' })
      expect(seen).toEqual([])
    },
  )

  test.each([
    [
      'throws',
      () => {
        throw new Error('no such student')
      },
      'no such student',
    ],
    ['waits', () => Promise.reject(new Error('x')), undefined],
  ])('whose step %s makes a dead letter at once', async (_, step, cause) => {
    const Broken = event('students.registered', schema, {
      version: 3,
      upcast: { ...upcast, 2: step },
    })
    const { disposition } = await deliverTo(Broken, { name: 'Ada Lovelace' })
    expect(disposition).toMatchObject({
      kind: 'reject',
      reason: 'undecodable',
      error: { code: 'MERSAL_DECODE', details: { type: 'students.registered', version: 2 } },
    })
    const { error } = disposition as { error: Error }
    expect((error.cause as Error | undefined)?.message).toBe(cause)
  })

  test('that the steps do not fit is refused by the schema', async () => {
    const { disposition } = await deliverTo(Registered, { name: 'Ada' })
    expect(disposition).toMatchObject({ kind: 'reject', reason: 'invalid' })
  })
})

describe('a version from the future', () => {
  const Old = event<First>('students.registered')
  const late = { type: Old.name, body: json(present), headers: { 'message-version': '3' } }

  test('waits uncharged, ever longer, and becomes a dead letter after an hour that names both', async () => {
    const clock = manualClock()
    const warnings: string[] = []
    const ignore = (): void => {}
    const warn = (_: object, text: string): void => void warnings.push(text)
    const logger = { debug: ignore, info: ignore, warn, error: ignore }
    const { app, transport } = openShop({ clock, logger, receive: { immediateRetries: 3 } })
    let handled = 0
    app.handle(Old, () => void handled++)
    await app.start()
    const since = clock.now()
    const first = await transport.deliver('shop', late)
    expect(first).toMatchObject({ kind: 'retry', delayMs: 1000, postponedSince: since })
    await clock.advance(10_000)
    const second = await transport.deliver('shop', late, { postponedSince: since })
    expect(second).toMatchObject({ kind: 'retry', delayMs: 10_000, postponedSince: since })
    await clock.advance(3_589_999)
    const third = await transport.deliver('shop', late, { postponedSince: since })
    expect(third).toMatchObject({ kind: 'retry', delayMs: 60_000 })
    await clock.advance(1)
    const end = await transport.deliver('shop', late, { postponedSince: since })
    expect(end).toMatchObject({
      kind: 'reject',
      reason: 'future-version',
      error: { code: 'MERSAL_FUTURE_VERSION', details: { version: 3, known: 1 } },
    })
    expect(String((end as { error: Error }).error)).toMatch(/version 3.*version 1/)
    expect(handled).toBe(0)
    expect(warnings).toEqual(Array(3).fill('message waits for a newer version of this app'))
    await app.stop()
  })
})

describe('a definition', () => {
  test.each([
    [{ version: 3, upcast: { 1: upcast[1] } }, 'upcast[2]'],
    [{ version: 2 }, 'upcast[1]'],
    [{ version: 2, upcast: { 1: upcast[1], 2: upcast[2] } }, 'upcast[2]'],
    [{ version: 2, upcast: { 1: upcast[1], '01': upcast[2] } }, 'upcast[01]'],
    [{ version: 2, upcast: { 1: 'rename' } }, 'upcast[1]'],
    [{ version: 2, upcast: null }, 'upcast'],
    [{ version: 2, upcast: [] }, 'upcast'],
    [{ version: 0 }, 'version'],
    [{ version: 1.5 }, 'version'],
    [{ version: '2' }, 'version'],
    [{ version: 1001 }, 'version'],
    [{ contentType: 'a\nb' }, 'contentType'],
    [{ contentType: 7 }, 'contentType'],
  ])('with %o is refused, naming %s', (options, field) => {
    for (const define of [command, event] as ((...given: unknown[]) => unknown)[])
      expect(() => define('x', undefined, options)).toThrow(
        expect.objectContaining({ code: 'MERSAL_INVALID_MESSAGE', details: { field } }),
      )
  })

  test('with an unknown option suggests the right one', () => {
    expect(() => event('x', undefined, { upcasts: {} } as never)).toThrow("did you mean 'upcast'")
  })
})
