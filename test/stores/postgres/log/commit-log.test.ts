import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { LogReader } from '../../../../src/core/commit-log.ts'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import type { Relays } from '../../../../src/index.ts'
import { postgres } from '../../../../src/postgres.ts'
import { clusterAvailable } from '../../../postgres/cluster.ts'
import {
  type Arrival,
  Counted,
  LOG_ALONE,
  openPlace,
  type Place,
  Poison,
} from '../../../postgres/commit-log/place.ts'

const WAIT = { timeout: 30_000 }

/** The numbers of one key in the order in which they came first. */
function numbersOf(arrivals: readonly Arrival[], key: string): number[] {
  return arrivals.filter((one) => one.key === key).map(({ body }) => Number(body))
}

function duplicates(arrivals: readonly Arrival[]): number {
  return arrivals.length - new Set(arrivals.map(({ id }) => id)).size
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

describe.skipIf(!clusterAvailable())('a relay that reads the commit log', () => {
  let place: Place
  let relay: Relays | undefined
  beforeAll(async () => {
    place = await openPlace()
  }, 120_000)
  afterAll(async () => {
    await place[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    await place.sql('truncate broker')
    await place.sql('truncate mersal.outbox')
  })
  afterEach(async () => {
    place.broker.mode = 'takes'
    await relay?.stop()
    relay = undefined
  })

  async function follow(options = LOG_ALONE): Promise<void> {
    relay = await place.relay(options)
    await expect.poll(() => place.state(), WAIT).toBe('followed')
    await place.writesForLog()
    await arrived()
    await place.sql('truncate broker')
  }

  const arrived = async (): Promise<void> => {
    await expect.poll(() => place.open(), WAIT).toBe(0)
  }

  test('P5 P6: publishes each message once and in the order of its key, from the log alone', async () => {
    await follow()
    const write = async (key: string): Promise<void> => {
      for (const n of upTo(40)) await place.send(n, key)
    }
    const keys = ['a', 'b', 'c']
    await Promise.all(keys.map(write))
    await arrived()
    const arrivals = await place.arrivals()
    for (const key of keys) expect(numbersOf(arrivals, key)).toEqual(upTo(40))
    expect([arrivals.length, duplicates(arrivals)]).toEqual([120, 0])
  })

  test('reads the log over a pool with `pipeline: true` as well', async () => {
    const pool = new pg.Pool({ connectionString: place.server.url, max: 2, pipeline: true })
    const store = postgres({ pool, listen: false, logger: silentLogger })
    const reading = new AbortController()
    const bodies: string[] = []
    const reader: LogReader = {
      committed({ rows }) {
        bodies.push(...rows.map(({ message }) => Buffer.from(message.body).toString('utf8')))
        return undefined
      },
      others: () => {},
    }
    const work = store.commitLog?.follow(reader, { signal: reading.signal })
    const late = performance.now() + WAIT.timeout
    while (!bodies.includes('7') && performance.now() < late) await place.send(7)
    expect(bodies).toContain('7')
    reading.abort()
    await work
    await store[Symbol.asyncDispose]()
    await pool.end()
  })

  test('P10: lives on when its connection ends while it waits for open transactions, and reads later', async () => {
    const writer = new pg.Client({ connectionString: place.server.url })
    await writer.connect()
    await writer.query('begin; select pg_current_xact_id()')
    relay = await place.relay()
    await expect.poll(() => place.state(), WAIT).toBe('starting')
    await place.sql(
      'select pg_terminate_backend(active_pid) from pg_replication_slots where active',
    )
    await expect.poll(() => place.state(), WAIT).toBe('starting')
    await writer.query('commit')
    await writer.end()
    await expect.poll(() => place.state(), WAIT).toBe('followed')
  })

  test('P10: lives on when its connection ends in the packet that lets it in', async () => {
    const pool = new pg.Pool({ connectionString: place.server.url, max: 2 })
    let ended = 0
    pool.on('connect', (client) => {
      const { connectionParameters } = client as unknown as {
        readonly connectionParameters: { readonly replication?: string }
      }
      if (connectionParameters.replication === undefined || ended++ > 0) return
      queueMicrotask(() => client.emit('error', new Error('terminating connection')))
    })
    const store = postgres({ pool, listen: false, logger: silentLogger })
    const reading = new AbortController()
    const reader: LogReader = { committed: () => undefined, others: () => {} }
    const work = store.commitLog?.follow(reader, { signal: reading.signal })
    await expect.poll(() => place.state(), WAIT).toBe('followed')
    expect(ended).toBeGreaterThan(0)
    reading.abort()
    await work
    await store[Symbol.asyncDispose]()
    await pool.end()
  })

  test('P12: bodies and headers of any kind arrive as they were sent', async () => {
    await follow()
    const body = 'ä€😀\\x00 {"a": 1}'.repeat(50)
    await place.app.transaction(async (_tx, { publish }) => {
      await publish(Counted, body as unknown as number, { partitionKey: `k'"\\ €` })
    })
    await arrived()
    const [arrival] = await place.arrivals()
    expect(arrival).toMatchObject({ key: `k'"\\ €`, body: JSON.stringify(body) })
  })

  test('P1: what was rolled back is not published', async () => {
    await follow()
    const work = place.app.transaction(async (_tx, { publish }) => {
      await publish(Counted, 1)
      throw new Error('no')
    })
    await expect(work).rejects.toThrow('no')
    await place.send(2)
    await arrived()
    expect((await place.arrivals()).map(({ body }) => body)).toEqual(['2'])
  })

  test('P2 P6: keeps what was committed while the broker was away, and publishes it once', async () => {
    await follow({ ...LOG_ALONE, breaker: { firstMs: 50, longestMs: 200 } })
    place.broker.mode = 'is away'
    for (const n of upTo(20)) await place.send(n, 'a')
    expect(await place.open()).toBe(20)
    place.broker.mode = 'takes'
    await arrived()
    expect(numbersOf(await place.arrivals(), 'a')).toEqual(upTo(20))
  })

  test('P8: a message that is refused becomes a dead letter, and holds up only its key', async () => {
    await follow({ ...LOG_ALONE, maxAttempts: 3, retry: { firstMs: 20, longestMs: 50 } })
    place.broker.mode = 'refuses poison'
    await place.app.transaction(async (_tx, { publish }) => {
      await publish(Poison, 0, { partitionKey: 'a' })
      await publish(Counted, 1, { partitionKey: 'a' })
      await publish(Counted, 2, { partitionKey: 'b' })
    })
    const dead = async (): Promise<number> => (await place.store.admin.stats()).dead
    await expect.poll(dead, WAIT).toBe(1)
    expect((await place.arrivals()).map(({ body }) => body)).toEqual(['2'])
    expect(await place.open()).toBe(2)
  })

  test('leaves what is paused, and goes on when it is resumed', async () => {
    await follow()
    const key = { kind: 'key', name: 'a' } as const
    const pauses = place.store.operations?.pauses
    await pauses?.pause(key, 'test')
    await place.send(0, 'b')
    await expect.poll(() => place.open(), WAIT).toBe(0)
    // A list of pauses is at most a second old.
    await new Promise((resolve) => setTimeout(resolve, 1300))
    await place.send(1, 'a')
    await place.send(2, 'b')
    await expect.poll(() => place.open(), WAIT).toBe(1)
    await pauses?.resume(key)
    await arrived()
    expect(numbersOf(await place.arrivals(), 'a')).toEqual([1])
  })

  test('a delayed message waits for its time, and can be taken back', async () => {
    await follow()
    const sent = await place.app.transaction((_tx, { publish }) =>
      publish(Counted, 1, { delayMs: 60_000 }),
    )
    await place.app.transaction(async (_tx, { publish }) => {
      await publish(Counted, 2, { delayMs: 300 })
    })
    await expect.poll(async () => (await place.arrivals()).length, WAIT).toBe(1)
    const answer = await place.app.transaction((_tx, { cancel }) => cancel(sent))
    expect(answer).toBe('cancelled')
    expect([await place.open(), (await place.arrivals()).length]).toEqual([0, 1])
  })

  test('P6: a commit that the log tells of before others can see it is published once', async () => {
    await follow()
    // The server has flushed the commit then, and answers only when a standby has it.
    await place.sql(`alter system set synchronous_standby_names = 'nobody'`)
    await place.sql('select pg_reload_conf()')
    const setting = async (): Promise<unknown> =>
      (await place.sql('show synchronous_standby_names'))[0]?.['synchronous_standby_names']
    await expect.poll(setting, WAIT).toBe('nobody')
    const sending = place.send(1, 'a')
    await new Promise((resolve) => setTimeout(resolve, 400))
    await place.sql('alter system reset synchronous_standby_names')
    await place.sql('select pg_reload_conf()')
    await sending
    await arrived()
    await place.send(2, 'a')
    await arrived()
    expect(numbersOf(await place.arrivals(), 'a')).toEqual([1, 2])
  })

  test('hands over to claims and takes over again, without loss, doubles or another order', async () => {
    await follow()
    const over = new AbortController()
    const counts = new Map<string, number>()
    const write = async (key: string): Promise<void> => {
      for (let n = 0; !over.signal.aborted; n++) {
        await place.send(n, key)
        counts.set(key, n + 1)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    const writers = Promise.all(['a', 'b', 'c', 'd'].map(write))
    for (const options of [
      { pollIntervalMs: 50 },
      { ...LOG_ALONE, pollIntervalMs: 50 },
      { pollIntervalMs: 50 },
    ]) {
      await new Promise((resolve) => setTimeout(resolve, 1500))
      await relay?.stop()
      relay = await place.relay(options)
    }
    over.abort()
    await writers
    await arrived()
    const arrivals = await place.arrivals()
    for (const [key, count] of counts) expect(numbersOf(arrivals, key)).toEqual(upTo(count))
    expect(duplicates(arrivals)).toBe(0)
  })
})
