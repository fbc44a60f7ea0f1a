import { describe, expect, test } from 'vitest'
import { command, isMersalError, reject, retryLater } from '../../../../src/index.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const message = { type: 'orders.place', body: json({ id: 1 }) }

const trap = (): never => {
  throw new Error('trapped')
}

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

function withGetter(name: string): Error {
  return Object.defineProperty(new Error('strange'), name, { get: trap })
}

/** What a handler may throw, however strange, made anew for each call. */
const thrown: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  'a frozen error': () => Object.freeze(new Error('frozen')),
  'an error whose message cannot be read': () => withGetter('message'),
  'an error whose code cannot be read': () => withGetter('code'),
  'an error whose cause cannot be read': () => withGetter('cause'),
  'a Proxy whose traps throw': () =>
    new Proxy(new Error('hidden'), {
      get: trap,
      has: trap,
      getPrototypeOf: trap,
      ownKeys: trap,
      getOwnPropertyDescriptor: trap,
    }),
  'a revoked Proxy': () => revoked(new Error('hidden')),
  'a revoked function': () => revoked(() => {}),
  'an error that was caused by a revoked Proxy': () => new Error('outer', { cause: revoked({}) }),
  'an error whose list of errors is revoked': () =>
    Object.assign(new Error('outer'), { errors: revoked([]) }),
  'something that looks like an error of a second copy of the package': () => ({
    [Symbol.for('mersal.error')]: true,
    code: 'MERSAL_HANDLER_TIMEOUT',
  }),
}

describe('whatever a handler throws', () => {
  test.each(Object.entries(thrown))(
    'P8: %s is a failure that is logged, and a dead letter',
    async (_, make) => {
      const lines: Readonly<Record<string, unknown>>[] = []
      const note = (fields: object): void => void lines.push({ ...fields })
      const logger = { debug: () => {}, info: () => {}, warn: note, error: note }
      const receive = { maxDeliveries: 2, immediateRetries: 0 }
      const { app, transport } = openShop({ logger, receive })
      app.handle(Place, () => {
        throw make()
      })
      await app.start()
      const first = await transport.deliver('shop', { ...message, id: 'one' })
      expect(first).toMatchObject({ kind: 'retry' })
      expect((first as { delayMs: number }).delayMs).toBeGreaterThan(0)
      const last = await transport.deliver('shop', { ...message, id: 'one' }, { attempt: 2 })
      expect(last).toMatchObject({ kind: 'reject', reason: 'handler-failed' })
      expect(lines.map(({ error }) => typeof error)).toEqual(['string', 'string'])
      await app.stop()
    },
  )

  test('a cause that cannot be looked at harms neither reject nor retryLater', () => {
    for (const make of Object.values(thrown))
      for (const steer of [() => reject(make()), () => retryLater(1000, make())]) {
        let error: unknown
        try {
          steer()
        } catch (caught) {
          error = caught
        }
        expect(isMersalError(error)).toBe(true)
      }
  })
})
