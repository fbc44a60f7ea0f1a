import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import { createRelays } from '../../../../src/index.ts'
import { postgres } from '../../../../src/postgres.ts'
import { clusterAvailable, privateCluster } from '../../../postgres/cluster.ts'
import {
  type Arrival,
  LOG_ALONE,
  openPlace,
  type Place,
} from '../../../postgres/commit-log/place.ts'
import { tableBroker } from '../../../postgres/commit-log/table-broker.ts'

const WAIT = { timeout: 40_000 }
const KEYS = ['a', 'b', 'c']

/** Writes to each key, one after the other; what failed may be there or not. */
function writers(place: Place) {
  const written = new Map<string, number[]>(KEYS.map((key) => [key, []]))
  const over = new AbortController()
  const work = async (key: string): Promise<void> => {
    for (let n = 0; !over.signal.aborted; n++) {
      await place.send(n, key).then(
        () => written.get(key)?.push(n),
        () => new Promise((resolve) => setTimeout(resolve, 20)),
      )
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  const done = Promise.all(KEYS.map(work))
  return {
    written,
    async stop() {
      over.abort()
      await done
    },
  }
}

/** The numbers of one key, each where it came first. */
const firsts = (arrivals: readonly Arrival[], key: string): number[] => [
  ...new Set(arrivals.filter((one) => one.key === key).map(({ body }) => Number(body))),
]

/** Everything that was written has come, in its order, each at most so often. */
function expectAll(
  arrivals: readonly Arrival[],
  written: ReadonlyMap<string, readonly number[]>,
  times: number,
): void {
  for (const [key, numbers] of written) {
    const came = firsts(arrivals, key)
    expect(came).toEqual([...came].sort((left, right) => left - right))
    expect(numbers.filter((n) => !came.includes(n))).toEqual([])
  }
  const counts = new Map<string, number>()
  for (const { id } of arrivals) counts.set(id, (counts.get(id) ?? 0) + 1)
  expect(Math.max(...counts.values())).toBeLessThanOrEqual(times)
}

describe.skipIf(!clusterAvailable())('reading the commit log through faults', () => {
  let place: Place
  beforeEach(async () => {
    place = await openPlace({ max_slot_wal_keep_size: '16MB' })
  }, 120_000)
  afterEach(async () => {
    await place[Symbol.asyncDispose]()
  })

  const followed = async (): Promise<void> => {
    await expect.poll(() => place.state(), WAIT).toBe('followed')
  }
  const arrived = async (): Promise<void> => {
    await expect.poll(() => place.open(), WAIT).toBe(0)
  }

  test('P2 P5 P6 P10: a second relay takes over within 5 s when the first one is killed', async () => {
    const first = await place.relayProcess()
    await followed()
    await place.relayProcess()
    await place.writesForLog()
    const work = writers(place)
    await new Promise((resolve) => setTimeout(resolve, 1000))
    const killedAt = performance.now()
    await first.kill('SIGKILL')
    await expect.poll(() => place.state(), { ...WAIT, interval: 20 }).not.toBe('followed')
    await expect.poll(() => place.state(), { ...WAIT, interval: 20 }).toBe('followed')
    expect(performance.now() - killedAt).toBeLessThan(5000)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    await work.stop()
    await arrived()
    expectAll(await place.arrivals(), work.written, 2)
  }, 120_000)

  test('P2 P5 P6 P10: goes on by itself when the server was killed and comes back', async () => {
    const relay = await place.relay({ ...LOG_ALONE, pollIntervalMs: 500 })
    await followed()
    await place.writesForLog()
    const work = writers(place)
    await new Promise((resolve) => setTimeout(resolve, 1000))
    await place.server.kill()
    await place.server.start()
    await followed()
    await place.writesForLog()
    await new Promise((resolve) => setTimeout(resolve, 500))
    await work.stop()
    await arrived()
    expectAll(await place.arrivals(), work.written, 2)
    await relay.stop()
  }, 120_000)

  test('P2 P5 P6: a reader that stands still loses its slot to max_slot_wal_keep_size, claims go on, and it comes back', async () => {
    const reader = await place.relayProcess()
    await followed()
    await place.writesForLog()
    const claiming = await place.relay({ pollIntervalMs: 100 })
    const work = writers(place)
    await new Promise((resolve) => setTimeout(resolve, 500))
    reader.signal('SIGSTOP')
    for (let round = 0; round < 6; round++) {
      await place.sql(
        'create table junk as select repeat(md5(n::text), 40) from generate_series(1, 6000) n',
      )
      await place.sql('drop table junk')
      await place.sql('select pg_switch_wal()')
    }
    await place.sql('checkpoint')
    await expect.poll(() => place.state(), WAIT).toBe('off')
    expect((await place.store.commitLog?.condition())?.retainedBytes).toBe(0)
    const before = (await place.arrivals()).length
    await expect
      .poll(async () => (await place.arrivals()).length, WAIT)
      .toBeGreaterThan(before + 20)
    reader.signal('SIGCONT')
    await followed()
    await work.stop()
    await arrived()
    expectAll(await place.arrivals(), work.written, 2)
    expect(await place.server.log()).toMatch(/terminating process \d+ to release replication slot/)
    await claiming.stop()
  }, 120_000)
})

describe.skipIf(!clusterAvailable())('a server or a role that does not fit', () => {
  test('is refused at the start with the remedy: wal_level, and the right to read the log', async () => {
    await using server = await privateCluster({ wal_level: 'replica' })
    const pool = new pg.Pool({ connectionString: server.url, max: 2 })
    const logger = silentLogger
    const store = postgres({ pool, listen: false, logger })
    const transport = tableBroker(server.url)
    const start = async (): Promise<void> => {
      const options = { stores: { main: store }, transport, relay: { commitLog: true }, logger }
      await createRelays(options).start()
    }
    await expect(start()).rejects.toMatchObject({
      code: 'MERSAL_STORE_UNSAFE',
      message: expect.stringMatching(/wal_level is replica.*set wal_level = logical/) as string,
    })
    const findings = (await store.commitLog?.examine()) ?? []
    expect(findings.filter(({ level }) => level === 'fault')).toHaveLength(1)
    await store[Symbol.asyncDispose]()
    await transport[Symbol.asyncDispose]()
    await pool.end()
  }, 60_000)

  test('least rights: REPLICATION, and a publication that the owner has made', async () => {
    await using server = await privateCluster({ wal_level: 'logical' })
    const admin = new pg.Pool({ connectionString: server.url, max: 1 })
    const logger = silentLogger
    const owner = postgres({ pool: admin, listen: false, logger })
    await owner.open()
    await admin.query(`create role mover login;
      grant usage on schema mersal to mover;
      grant select, insert, update, delete on all tables in schema mersal to mover;
      grant execute on all functions in schema mersal to mover`)
    const pool = new pg.Pool({
      connectionString: server.url.replace('postgres@', 'mover@'),
      max: 2,
    })
    const store = postgres({ pool, listen: false, migrate: 'check', logger })
    await store.open()
    const prepare = (): Promise<unknown> => store.commitLog?.prepare() ?? Promise.resolve()
    await expect(prepare()).rejects.toThrow(/alter role "mover" replication/)
    await admin.query('alter role mover replication')
    await expect(prepare()).rejects.toThrow(/as the owner of the table: create publication/)
    const remedy = (await store.commitLog?.examine())?.find(
      ({ level }) => level === 'warning',
    )?.remedy
    await admin.query(remedy?.replace('as the owner of the table: ', '') ?? '')
    await prepare()
    const reading = new AbortController()
    const work = store.commitLog?.follow(
      { committed: () => undefined, others: () => {} },
      { signal: reading.signal },
    )
    await expect
      .poll(async () => (await store.commitLog?.condition())?.state, { timeout: 20_000 })
      .toBe('followed')
    reading.abort()
    await work
    for (const one of [store, owner]) await one[Symbol.asyncDispose]()
    await pool.end()
    await admin.end()
  }, 60_000)
})
