import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findLibfaketime, noLibfaketime, onlyTheWall } from '../../../scripts/servers/faketime.ts'
import { clusterProblem, privateCluster } from '../../../scripts/servers/postgres.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import type { StorageClock } from '../../../src/core/storage-clock.ts'
import { systemClock } from '../../../src/lib/async/clock.ts'
import { runJanitor } from '../../../src/outbox/janitor.ts'
import { createRelay } from '../../../src/outbox/relay.ts'
import { isPresent } from '../../../scripts/servers/present.ts'
import { relaySettings } from '../../../src/outbox/options.ts'
import { claim, message, newToken } from '../../postgres/messages.ts'
import { testDatabase } from '../../postgres/database.ts'
import { storeHarness, type StoreHarness } from '../../postgres/store-harness.ts'
import { testTransport } from '../../unit/outbox/support.ts'

const library = findLibfaketime()
const problem = library === undefined ? noLibfaketime : clusterProblem()
const canSetClock = isPresent(
  problem && `NO SERVER WITH A CLOCK TO SET: ${problem}`,
  process.env['MERSAL_TEST_REQUIRE_FAKETIME'] === 'true',
)

interface Server extends AsyncDisposable {
  readonly harness: StoreHarness
  /** Sets the clock of the server, against the right one: '-1h'. */
  readonly setClock: (by: string) => void
}

async function server(): Promise<Server> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-clock-'))
  chmodSync(folder, 0o755)
  const control = join(folder, 'clock')
  const setClock = (by: string): void => {
    writeFileSync(`${control}.new`, by, { mode: 0o644 })
    renameSync(`${control}.new`, control)
  }
  setClock('+0')
  const faked = {
    LD_PRELOAD: library as string,
    FAKETIME_TIMESTAMP_FILE: control,
    FAKETIME_NO_CACHE: '1',
    ...onlyTheWall,
  }
  const cluster = await privateCluster({}, { environment: faked })
  const harness = await storeHarness(testDatabase(cluster.url))
  return {
    harness,
    setClock,
    async [Symbol.asyncDispose]() {
      await harness[Symbol.asyncDispose]()
      await cluster[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

describe.runIf(canSetClock)('a PostgreSQL server whose clock is set', () => {
  test('P5 P10: back by an hour, with messages claimed by a relay that died and later ones behind them', {
    timeout: 240_000,
  }, async () => {
    await using place = await server()
    const { harness, setClock } = place
    await using store = await harness.open()
    const transport = testTransport()
    const warnings: { backMs?: unknown }[] = []
    let looks = 0
    const clock = store.outbox.clock as StorageClock
    const read = (): ReturnType<typeof clock.read> => {
      looks++
      return clock.read()
    }
    await using relay = createRelay({
      environment: {
        app: 'test',
        logger: { ...silentLogger, warn: (fields) => warnings.push(fields) },
        clock: systemClock,
        random: Math.random,
        newToken,
      },
      storage: { ...store.outbox, clock: { ...clock, read } },
      transports: new Map([['default', transport]]),
      settings: relaySettings(),
    })
    relay.start()
    const labels = (from: number, to: number): string[] =>
      Array.from({ length: to - from }, (_, n) => `a${from + n}`)
    const add = (names: readonly string[], delayMs = 0): Promise<unknown> =>
      store.unitOfWork((tx) =>
        store.outbox.save(
          tx,
          names.map((label) => ({ ...message(label, delayMs > 0 ? undefined : 'a'), delayMs })),
        ),
      )
    await add(['delayed'], 20_000)
    const delayedAt = performance.now()
    await expect.poll(() => looks, { timeout: 30_000 }).toBeGreaterThan(1)
    // In one transaction, so that the relay that lives gets none of them before the one that dies.
    const client = await harness.database.pool.connect()
    await client.query('begin')
    await store.outbox.save(
      client,
      labels(0, 40).map((label) => message(label, 'a')),
    )
    await client.query(`update ${harness.database.schema}.outbox set token = gen_random_uuid(), attempts = 1,
      visible_at = clock_timestamp() + interval '15 seconds' where key = 'a'`)
    await client.query('commit')
    client.release()
    setClock('-1h')
    await add(labels(40, 50))
    await expect.poll(() => transport.published.length, { timeout: 60_000 }).toBe(51)
    const published = transport.published.map(({ message: { type } }) => type.replace('test.', ''))
    expect(published.filter((label) => label !== 'delayed')).toEqual(labels(0, 50))
    expect(performance.now() - delayedAt).toBeGreaterThan(15_000)
    expect(warnings.map(({ backMs }) => Math.round(Number(backMs) / 60_000))).toEqual([60])
  })

  test('P4: forward by ten days, while a janitor with a retention of seven runs', {
    timeout: 240_000,
  }, async () => {
    await using place = await server()
    const { harness, setClock } = place
    await using store = await harness.open()
    await store.unitOfWork((tx) => store.tracker.track(tx, { consumer: 'c', messageId: 'm' }))
    const closing = new AbortController()
    let rounds = 0
    const tracker = {
      now: store.tracker.now as () => Promise<number>,
      prune: async (options: { olderThanMs: number; limit: number }) => {
        const removed = await store.tracker.prune(options)
        rounds++
        return removed
      },
    }
    const inbox = { tracker, retentionMs: 604_800_000 }
    const janitor = runJanitor(
      {
        app: 'test',
        inbox,
        clock: systemClock,
        logger: silentLogger,
        options: { intervalMs: 100 },
      },
      { signal: closing.signal },
    )
    await expect.poll(() => rounds, { timeout: 20_000 }).toBeGreaterThan(0)
    setClock('+10d')
    const before = rounds
    await expect.poll(() => rounds, { timeout: 20_000 }).toBeGreaterThan(before + 3)
    expect((await tracker.now()) - Date.now()).toBeGreaterThan(800_000_000)
    closing.abort()
    await janitor
    expect(
      await store.unitOfWork((tx) => store.tracker.track(tx, { consumer: 'c', messageId: 'm' })),
    ).toBe('duplicate')
    expect(await claim(store)).toEqual([])
  })
})
