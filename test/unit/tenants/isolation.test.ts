import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import type { Store } from '../../../src/core/store.ts'
import { openScene, Order, type Scene, type Tx } from './support.ts'

const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 200_000 })

async function place({ tenants }: Scene, tenant: string, ...items: string[]): Promise<void> {
  const app = await tenants.get(tenant)
  for (const item of items) await app.transaction((_tx, { send }) => send(Order, { item }))
}

const many = (count: number): string[] => Array.from({ length: count }, (_, n) => `i${n}`)
const of = ({ handled }: Scene, tenant: string): number =>
  handled.filter((one) => one.startsWith(`${tenant}:`) && !one.endsWith('placed')).length

describe('a tenant whose database', () => {
  test('cannot be opened holds up no other one, and goes on when it can; its messages wait uncharged', async () => {
    let away = true
    const error = Object.assign(new Error('no connection'), { code: 'ECONNREFUSED' })
    const scene = openScene({
      wrap: (store, tenant) =>
        tenant === 'acme'
          ? { ...store, open: () => (away ? Promise.reject(error) : store.open()) }
          : store,
      receive: { maxDeliveries: 1, immediateRetries: 0 },
    })
    await using _ = scene.tenants
    await scene.tenants.start()
    await until(() =>
      expect(scene.tenants.list()).toEqual([
        { name: 'acme', state: 'away', reason: 'ECONNREFUSED' },
        { name: 'globex', state: 'open' },
      ]),
    )
    await expect(scene.tenants.get('acme')).rejects.toThrow('no connection')
    const globex = await scene.tenants.get('globex')
    await globex.transaction((_tx, { send }) => send(Order, { item: 'rope' }))
    const { network } = scene
    await using from = network.transport()
    const message = {
      id: crypto.randomUUID(),
      type: Order.name,
      headers: { tenant: 'acme', 'content-type': 'application/json' },
      body: Buffer.from('{"item":"anvil"}'),
      to: { transport: 'default', kind: 'queue', name: 'orders' } as const,
    }
    expect(await Promise.all(from.publish([message]))).toEqual([{ kind: 'confirmed' }])
    await until(() => expect(scene.handled).toContain('globex:rope placed'))
    away = false
    await until(() => expect(scene.handled).toContain('acme:anvil placed'))
    expect(await network.deadLetters.list()).toEqual([])
  })

  test('goes away while it works keeps no hand from the others', async () => {
    let away = false
    const gone = (): Error => Object.assign(new Error('gone'), { code: 'ECONNRESET' })
    const wrap = (store: Store<Tx>, tenant: string): Store<Tx> =>
      tenant !== 'acme'
        ? store
        : {
            ...store,
            unitOfWork: (work, options) =>
              away ? Promise.reject(gone()) : store.unitOfWork(work, options),
            probe: async () => {
              if (away) throw gone()
            },
          }
    const scene = openScene({ wrap, concurrency: 4, receive: { concurrency: 4, maxDeliveries: 1 } })
    await using _ = scene.tenants
    await scene.tenants.start()
    await place(scene, 'acme', ...many(50))
    await until(() => expect(of(scene, 'acme')).toBe(50))
    const { network } = scene
    await using from = network.transport()
    away = true
    const messages = many(50).map((item) => ({
      id: crypto.randomUUID(),
      type: Order.name,
      headers: { tenant: 'acme', 'content-type': 'application/json' },
      body: Buffer.from(JSON.stringify({ item })),
      to: { transport: 'default', kind: 'queue', name: 'orders' } as const,
    }))
    await Promise.all(from.publish(messages))
    await place(scene, 'globex', ...many(50))
    await until(() => expect(of(scene, 'globex')).toBe(50))
    expect(of(scene, 'acme')).toBe(50)
    away = false
    await until(() => expect(of(scene, 'acme')).toBe(100))
    expect(await network.deadLetters.list()).toEqual([])
  })
})

describe('a tenant whose handlers', () => {
  test('hang takes its own hands and no more', async () => {
    const { promise: hung, resolve: release } = Promise.withResolvers<void>()
    let running = 0
    let most = 0
    const scene = openScene({
      receive: { concurrency: 3 },
      handle(app, handled) {
        app.handle(Order, async ({ item }, { tenant }) => {
          if (tenant === 'acme') {
            most = Math.max(most, ++running)
            await hung
            running--
          }
          handled.push(`${tenant}:${item}`)
        })
      },
    })
    await using _ = scene.tenants
    await scene.tenants.start()
    await place(scene, 'acme', ...many(60))
    await until(() => expect(running).toBe(3))
    await place(scene, 'globex', ...many(100))
    await until(() => expect(of(scene, 'globex')).toBe(100))
    expect(of(scene, 'acme')).toBe(0)
    release()
    await until(() => expect(of(scene, 'acme')).toBe(60))
    expect(await scene.network.deadLetters.list()).toEqual([])
    expect(most).toBe(3)
  })

  test('are at work when it is removed end within the grace period, and are rolled back after it', async () => {
    const begun: AbortSignal[] = []
    const scene = openScene({
      handle(app) {
        app.handle(Order, async ({ item }, { tx, signal }) => {
          tx.set(item, 'written')
          begun.push(signal)
          if (item === 'quick') return sleep(20)
          await new Promise((_, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
          })
        })
      },
    })
    await using _ = scene.tenants
    await scene.tenants.start()
    await place(scene, 'acme', 'quick', 'stuck')
    await until(() => expect(begun).toHaveLength(2))
    const asked = performance.now()
    await expect(scene.tenants.remove('acme', { graceMs: 200 })).rejects.toMatchObject({
      code: 'MERSAL_STOP_TIMEOUT',
    })
    expect(performance.now() - asked).toBeLessThan(4000)
    expect(begun[1]!.aborted).toBe(true)
    // What was given up came back to the queue, and nobody has it any more.
    await until(async () =>
      expect(await scene.network.deadLetters.list()).toMatchObject([
        { reason: 'unknown-tenant', headers: { tenant: 'acme' } },
      ]),
    )
    expect(scene.tenants.list()).toEqual([{ name: 'globex', state: 'open' }])
    const letters = await scene.network.deadLetters.list()
    expect(Buffer.from(letters[0]!.body).toString()).toBe('{"item":"stuck"}')
  })
})
