import { describe, expect, test } from 'vitest'
import * as v from 'valibot'
import { z } from 'zod'
import {
  type EventType,
  Mersal,
  type MersalOptions,
  type StandardSchema,
  command,
  event,
} from '../../../../src/index.ts'
import { capture } from '../../../../src/testing/index.ts'
import { rejection } from '../../support/errors.ts'
import { fakeTransport } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const typed = (schema?: StandardSchema<unknown, unknown>): EventType<unknown> =>
  event('bodies.sent', schema)

class Money {
  readonly #cents = 5
  toJSON(): string {
    return `${this.#cents} cents`
  }
}

const sparse: unknown[] = [1]
sparse[2] = 3

const refused: [what: string, type: EventType<unknown>, body: unknown, path: string][] = [
  ['a date under z.date()', typed(z.object({ at: z.date() })), { at: new Date(0) }, 'at'],
  ['a date under date() of valibot', typed(v.object({ at: v.date() })), { at: new Date(0) }, 'at'],
  [
    'a number that the schema makes of text',
    typed(z.object({ n: z.string().transform(Number) })),
    { n: '5' },
    'n',
  ],
  [
    'a text that the schema changes each time',
    typed(z.object({ s: z.string().transform((s) => `${s}!`) })),
    { s: 'a' },
    's',
  ],
  [
    'a map',
    typed(z.object({ of: z.map(z.string(), z.number()) })),
    { of: new Map([['a', 1]]) },
    'of',
  ],
  ['a set', typed(z.object({ of: z.set(z.string()) })), { of: new Set(['a']) }, 'of'],
  ['bytes', typed(), { deep: [{ bytes: new Uint8Array([1]) }] }, 'deep.0.bytes'],
  ['a buffer', typed(), { bytes: Buffer.from('a') }, 'bytes'],
  ['a date without a schema', typed(), { at: new Date(0) }, 'at'],
  ['a map without a schema', typed(), { of: new Map() }, 'of'],
  ['NaN', typed(), { n: [1, Number.NaN] }, 'n.1'],
  ['NaN under a schema', typed(z.object({ n: z.nan() })), { n: Number.NaN }, 'n'],
  ['infinity', typed(), { n: Number.POSITIVE_INFINITY }, 'n'],
  ['undefined in an array', typed(), { list: [undefined] }, 'list.0'],
  ['an array with holes', typed(), { list: sparse }, 'list.1'],
  ['what toJSON() makes something else of', typed(), { price: new Money() }, 'price'],
  ['a function', typed(), { run: () => 1 }, 'run'],
  ['a symbol', typed(), { tag: Symbol('a') }, 'tag'],
  ['a property named by a symbol', typed(), { [Symbol.for('tag')]: 1 }, 'Symbol(tag)'],
  ['an error', typed(), { error: new Error('a') }, 'error'],
  ['a regular expression', typed(), { like: /a/ }, 'like'],
  ['a date as the body', typed(), new Date(0), ''],
  [
    'a date under a schema that answers later',
    typed(waiting(z.object({ at: z.date() }))),
    { at: new Date(0) },
    'at',
  ],
]

/** The same schema, answering later. */
function waiting(schema: StandardSchema<unknown, unknown>): StandardSchema<unknown, unknown> {
  const validate = async (value: unknown) => schema['~standard'].validate(value)
  return { '~standard': { ...schema['~standard'], validate } }
}

const accepted: [what: string, type: EventType<unknown>, body: unknown][] = [
  ['plain data', typed(), { a: [1, 'b', null, true, { c: [] }], __proto__: null }],
  ['minus zero', typed(), { n: -0 }],
  ['a property that is undefined', typed(), { a: undefined }],
  [
    'an optional field of a schema',
    typed(z.object({ a: z.string().optional() })),
    { a: undefined },
  ],
  [
    'a date that the schema restores',
    typed(z.object({ at: z.coerce.date() })),
    { at: new Date(0) },
  ],
  [
    'a default, and text that is trimmed',
    typed(z.object({ s: z.string().trim(), n: z.number().default(1) })),
    { s: ' a ' },
  ],
  [
    'an instance with fields',
    typed(),
    new (class Point {
      readonly x = 1
    })(),
  ],
  ['a lone surrogate', typed(), { s: '\uD800' }],
  ['text', typed(), 'a'],
  ['a schema that answers later', typed(waiting(z.object({ n: z.number() }))), { n: 1 }],
]

const shop = (options: Partial<MersalOptions<never>> = {}) => openShop(options)

describe('a body that would not arrive as it was sent', () => {
  test.each(refused)(
    '%s is refused at the first publish, with its path',
    async (_, type, body, path) => {
      const { app, rows } = shop()
      const error = await rejection(
        app.transaction((_tx, { publish }) => publish(type, body)),
        'MERSAL_INVALID_BODY',
      )
      const paths = [
        error.details['path'],
        ...((error.details['issues'] ?? []) as { path: string }[]).map((issue) => issue.path),
      ]
      expect(paths).toContain(path)
      if (path !== '') expect(error.message).toContain(`'${path}'`)
      expect(await rows()).toEqual([])
    },
  )

  test.each(accepted)('%s is sent', async (_, type, body) => {
    const { app, rows } = shop({ checkBodies: 'always' })
    await app.transaction((_tx, { publish }) => publish(type, body))
    expect(await rows()).toHaveLength(1)
  })

  test('is looked for in the first body of a type that arrives, by option in each, by option in none', async () => {
    const type = event<{ at: unknown }>('bodies.sent')
    const publishAll = async (checkBodies?: 'always' | 'first' | 'never'): Promise<string[]> => {
      const { app } = shop(checkBodies === undefined ? {} : { checkBodies })
      const outcomes: string[] = []
      for (const at of [new Date(0), 'text', new Date(0)]) {
        const sending = app.transaction((_tx, { publish }) => publish(type, { at }))
        outcomes.push(
          await sending.then(
            () => 'sent',
            (error: { code: string }) => error.code,
          ),
        )
      }
      return outcomes
    }
    const [no, sent] = ['MERSAL_INVALID_BODY', 'sent']
    expect(await publishAll()).toEqual([no, sent, sent])
    expect(await publishAll('first')).toEqual([no, sent, sent])
    expect(await publishAll('always')).toEqual([no, sent, no])
    expect(await publishAll('never')).toEqual([sent, sent, sent])
  })

  test('is not looked for with NODE_ENV=production, unless by option', () => {
    const before = process.env['NODE_ENV']
    process.env['NODE_ENV'] = 'production'
    try {
      const type = event('bodies.sent')
      const open = (more: object) =>
        new Mersal({ name: 'a', transport: fakeTransport(), logger: false, ...more })
      return Promise.all([
        open({}).direct.publish(type, { at: new Date(0) }),
        rejection(
          open({ checkBodies: 'always' }).direct.publish(type, { at: new Date(0) }),
          'MERSAL_INVALID_BODY',
        ),
      ])
    } finally {
      process.env['NODE_ENV'] = before
    }
  })

  test('is refused on every road', async () => {
    const [Told, Do] = [event<{ at: Date }>('bodies.told'), command<{ at: Date }>('bodies.do')]
    const { app, store } = shop({ checkBodies: 'always', routes: { [Do.name]: 'elsewhere' } })
    const body = { at: new Date(0) }
    const roads: Record<string, () => Promise<unknown>> = {
      publish: () => app.transaction((_, { publish }) => publish(Told, body)),
      send: () => app.transaction((_, { send }) => send(Do, body)),
      sendLocal: () => app.transaction((_, { sendLocal }) => sendLocal(Do, body)),
      within: () => store.unitOfWork((tx) => app.within(tx).publish(Told, body)),
      direct: () => app.direct.publish(Told, body),
      ambient: () => app.transaction(() => app.publish(Told, body)),
      capture: () => capture(app).transaction((_, { publish }) => publish(Told, body)),
    }
    for (const road of Object.values(roads)) await rejection(road(), 'MERSAL_INVALID_BODY')
  })

  test('may be what another serializer carries', async () => {
    const serializer = {
      contentType: 'application/x-dates',
      encode: (value: unknown) =>
        new TextEncoder().encode(String((value as { at: Date }).at.getTime())),
      decode: (bytes: Uint8Array) => ({ at: new Date(Number(new TextDecoder().decode(bytes))) }),
    }
    const { app, rows } = shop({ serializer, checkBodies: 'always' })
    await app.transaction((_, { publish }) => publish(event('bodies.sent'), { at: new Date(7) }))
    expect(await rows()).toHaveLength(1)
  })
})
