import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { command, Mersal, type Store } from '../../src/index.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { postgres, postgresQueue } from '../../src/postgres.ts'
import { serverUrl, testDatabase } from '../postgres/database.ts'
import { openProject, postgresConfig } from './project.ts'
import { type Bench, type Kind, message, openBench, kindsHere } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()

/**
 * A pause is known to everybody after this, also on a busy machine;
 * test/unit/outbox/limits/pauses.test.ts has the exact bound.
 */
const OBEYED_MS = 2500

async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await sleep(50)
}

async function startRelay(bench: Bench): Promise<ReturnType<Bench['project']['start']>> {
  const relay = bench.project.start(['relay', '--no-http'])
  await relay.says(/ runs: /)
  return relay
}

/** Takes everything that is due, as a relay would, and looks how often each was tried before. */
async function attempts(bench: Bench): Promise<number[]> {
  const rows = await bench.store.outbox.claim({ limit: 1000, claimMs: 100, token: 'look' })
  return rows.map(({ attempt }) => attempt)
}

// At the same time: most of it is waiting, and each has a store of its own.
describe.concurrent.each(kinds)('mersal pause on %s', { timeout: 240_000 }, (kind) => {
  test('holds up a destination in a running relay and after its restart, and nothing else; no attempt is charged', async () => {
    await using bench = await openBench(kind)
    await bench.declare('orders')
    await bench.declare('billing')
    const { mersal } = bench.project
    const first = await startRelay(bench)
    expect(
      await mersal(['pause', 'destination', 'default/queue/billing', '--reason', 'moving']),
    ).toMatchObject({ code: 0 })
    await sleep(OBEYED_MS)
    await bench.send(
      message('b1', { queue: 'billing' }),
      message('o1'),
      message('b2', { queue: 'billing' }),
    )
    await until(async () => (await bench.store.admin.stats()).pending === 2)
    expect((await first.signal('SIGTERM')).code).toBe(0)
    const second = await startRelay(bench)
    await bench.send(message('o2'))
    await until(async () => (await bench.store.admin.stats()).pending === 2)
    await sleep(OBEYED_MS)
    expect(await bench.store.admin.stats()).toMatchObject({ pending: 2, claimed: 0 })
    const seen = JSON.parse((await mersal(['status', '--json', '--quick'])).stdout) as {
      pauses: unknown[]
    }
    expect(seen.pauses).toMatchObject([
      { kind: 'destination', name: 'default/queue/billing', reason: 'moving' },
    ])
    expect((await second.signal('SIGTERM')).code).toBe(0)
    expect(await attempts(bench)).toEqual([1, 1])
    await until(async () => (await bench.store.admin.stats()).claimed === 0)
    const third = await startRelay(bench)
    expect(
      await mersal(['resume', 'destination', 'default/queue/billing', '--json']),
    ).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('"changed":true') as string,
    })
    await until(async () => (await bench.store.admin.stats()).pending === 0)
    await third.signal('SIGTERM')
    expect(await bench.received('billing')).toEqual(['b1', 'b2'])
    expect(await bench.received('orders')).toEqual(['o1', 'o2'])
  })

  test('lets no later message of a key pass one that is held up, whether its destination or the key is paused', async () => {
    await using bench = await openBench(kind)
    await bench.declare('orders')
    await bench.declare('billing')
    const { mersal } = bench.project
    await mersal(['pause', 'destination', 'default/queue/billing'])
    await mersal(['pause', 'key', 'l'])
    const relay = await startRelay(bench)
    await bench.send(
      message('k1', { partitionKey: 'k' }),
      message('k2', { partitionKey: 'k', queue: 'billing' }),
      message('k3', { partitionKey: 'k' }),
      message('l1', { partitionKey: 'l' }),
      message('free', { partitionKey: 'm' }),
    )
    await until(async () => (await bench.store.admin.stats()).pending === 3)
    await sleep(OBEYED_MS)
    expect(await bench.store.admin.stats()).toMatchObject({ pending: 3, claimed: 0 })
    expect((await bench.received('orders')).toSorted()).toEqual(['free', 'k1'])
    await mersal(['resume', 'key', 'l'])
    await mersal(['resume', 'destination', 'default/queue/billing'])
    await until(async () => (await bench.store.admin.stats()).pending === 0)
    await relay.signal('SIGTERM')
    expect((await bench.received('orders')).toSorted()).toEqual(['k3', 'l1'])
    expect(await bench.received('billing')).toEqual(['k2'])
  })

  test('is obeyed by the express lane of an app', async () => {
    await using bench = await openBench(kind)
    await bench.declare('orders')
    const Place = command<{ n: number }>('orders.place')
    // The app closes what it is given.
    const kept = { ...bench.store, [Symbol.asyncDispose]: () => Promise.resolve() } as Store<never>
    const app = new Mersal({
      name: 'shop',
      store: kept,
      transport: sqliteQueue({ path: bench.project.file('queue.db') }),
      routes: { 'orders.place': 'orders' },
      sendOnly: true,
    })
    await app.start()
    try {
      await app.transaction((_tx, { send }) => send(Place, { n: 1 }))
      await until(async () => (await bench.store.admin.stats()).pending === 0)
      await bench.project.mersal(['pause', 'destination', 'default/queue/orders'])
      await sleep(OBEYED_MS)
      await app.transaction((_tx, { send }) => send(Place, { n: 2 }))
      await app.transaction((_tx, { send }) => send(Place, { n: 3 }, { partitionKey: 'k' }))
      await sleep(OBEYED_MS)
      expect(await bench.store.admin.stats()).toMatchObject({ pending: 2, claimed: 0 })
      expect(await bench.received('orders')).toEqual(['{"n":1}'])
      await bench.project.mersal(['resume', 'destination', 'default/queue/orders'])
      await until(async () => (await bench.store.admin.stats()).pending === 0)
    } finally {
      await app.stop()
    }
    expect((await bench.received('orders')).toSorted()).toEqual(['{"n":2}', '{"n":3}'])
  })

  test('keeps order and loses nothing while keys and a destination are paused and resumed under load by two relays', async () => {
    await using bench = await openBench(kind, { further: 'relay: { batchSize: 20 },' })
    await bench.declare('orders')
    const { pauses } = bench.store.operations!
    const relays = await Promise.all([startRelay(bench), startRelay(bench)])
    const bodies = Array.from({ length: 600 }, (_, n) => `${n % 5}:${n}`)
    const targets = [
      { kind: 'key', name: '1' },
      { kind: 'destination', name: 'default/queue/orders' },
      { kind: 'key', name: '2' },
    ] as const
    for (let start = 0; start < bodies.length; start += 20) {
      await bench.send(
        ...bodies
          .slice(start, start + 20)
          .map((body) => message(body, { partitionKey: body.split(':')[0]! })),
      )
      const target = targets[(start / 20) % 3]!
      await ((start / 60) % 2 < 1 ? pauses!.pause(target, '') : pauses!.resume(target))
      await sleep(100)
    }
    for (const target of targets) await pauses!.resume(target)
    await until(async () => (await bench.store.admin.stats()).pending === 0)
    for (const relay of relays) expect((await relay.signal('SIGTERM')).code).toBe(0)
    const received = await bench.received('orders')
    expect(received.toSorted()).toEqual(bodies.toSorted())
    for (let key = 0; key < 5; key++) {
      const ofKey = (list: readonly string[]): string[] =>
        list.filter((body) => body.startsWith(`${key}:`))
      expect(ofKey(received)).toEqual(ofKey(bodies))
    }
  })

  test('tells what is paused, whether anything changed, and what a destination looks like', async () => {
    await using bench = await openBench(kind)
    const { mersal } = bench.project
    expect(await mersal(['pause', 'list'])).toMatchObject({
      code: 0,
      stdout: 'nothing is paused\n',
    })
    expect((await mersal(['pause', 'key', 'k'])).stdout).toContain('is paused')
    expect((await mersal(['pause', 'key', 'k', '--reason', 'twice'])).stdout).toContain(
      'was paused already',
    )
    expect(JSON.parse((await mersal(['pause', 'list', '--json'])).stdout)).toMatchObject([
      { kind: 'key', name: 'k', reason: 'twice' },
    ])
    expect((await mersal(['resume', 'key', 'other'])).stdout).toContain('was not paused')
    expect(await mersal(['pause', 'destination', 'billing'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('did you mean default/queue/billing') as string,
    })
    expect(await mersal(['pause', 'key'])).toMatchObject({ code: 2 })
  })

  test('refuses a transport that the configuration does not have, unless it is told to pause it all the same', async () => {
    await using bench = await openBench(kind)
    const { mersal } = bench.project
    expect(await mersal(['pause', 'destination', 'defualt/queue/billing'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("no transport 'defualt'; it has default") as string,
    })
    expect((await mersal(['pause', 'list'])).stdout).toBe('nothing is paused\n')
    expect(
      await mersal(['pause', 'destination', 'defualt/queue/billing', '--force']),
    ).toMatchObject({ code: 0 })
    expect((await mersal(['pause', 'list'])).stdout).toContain('defualt/queue/billing')
    // What was paused by mistake can be resumed without more ado.
    expect((await mersal(['resume', 'destination', 'defualt/queue/billing'])).stdout).toContain(
      'goes on',
    )
  })

  test('pauses a place that nobody knows, for messages to come, and says that nobody knows it', async () => {
    await using bench = await openBench(kind)
    await bench.declare('orders')
    const { mersal } = bench.project
    for (const [place, doubt] of [
      [
        'default/queue/ordres',
        "no message waits for default/queue/ordres now, and no queue 'ordres' is known",
      ],
      ['default/topic/orders.palced', 'no message waits for default/topic/orders.palced now;'],
    ] as const) {
      expect(await mersal(['pause', 'destination', place])).toMatchObject({
        code: 0,
        stderr: expect.stringContaining(doubt) as string,
      })
    }
    expect(await mersal(['pause', 'destination', 'default/queue/orders'])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(
        'events come to this queue by their topics, which go on: mersal pause destination default/topic/NAME',
      ) as string,
    })
    await bench.send(message('b1', { queue: 'billing' }))
    expect(await mersal(['pause', 'destination', 'default/queue/billing'])).toMatchObject({
      code: 0,
      stderr: '',
    })
    expect(JSON.parse((await mersal(['pause', 'list', '--json'])).stdout)).toHaveLength(4)
  })
})

describe.runIf(kinds.includes('postgres'))(
  'mersal pause with a queue beside the outbox',
  { timeout: 240_000 },
  () => {
    test('sends what is paused, and what is behind it, into the outbox instead of straight into the queue', async () => {
      await using database = await testDatabase()
      const { pool, schema } = database
      const store = postgres({ pool, schema })
      const Place = command<{ n: number }>('orders.place')
      const transport = postgresQueue({ pool, schema })
      await transport.subscribe('orders', [])
      const app = new Mersal({
        name: 'shop',
        store,
        transport,
        routes: { 'orders.place': 'orders' },
        sendOnly: true,
        outbox: { runRelay: false },
      })
      await app.start()
      await using project = openProject(postgresConfig(serverUrl, schema))
      const send = (n: number, partitionKey?: string): Promise<unknown> =>
        app.transaction((_tx, { send }) =>
          send(Place, { n }, partitionKey === undefined ? {} : { partitionKey }),
        )
      const rows = async (table: string): Promise<unknown> =>
        (await database.query(`select count(*)::int as n from ${schema}.${table}`))[0]?.['n']
      try {
        await send(1, 'k')
        expect([await rows('queue_message'), await rows('outbox')]).toEqual([1, 0])
        await project.mersal(['pause', 'key', 'k'])
        await send(2, 'k')
        await send(3, 'l')
        expect([await rows('queue_message'), await rows('outbox')]).toEqual([2, 1])
        await project.mersal(['pause', 'destination', 'default/queue/orders'])
        await send(4, 'l')
        await send(5)
        expect([await rows('queue_message'), await rows('outbox')]).toEqual([2, 3])
        await project.mersal(['resume', 'key', 'k'])
        await project.mersal(['resume', 'destination', 'default/queue/orders'])
        // Nobody has moved the earlier ones yet, so these wait behind them; a new key does not.
        await send(6, 'k')
        await send(7, 'm')
        expect([await rows('queue_message'), await rows('outbox')]).toEqual([3, 4])
      } finally {
        await app.stop()
      }
    })
  },
)
