import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import type { ClaimedMessage } from '../../../src/core/outbox.ts'
import type { StorageClock } from '../../../src/core/storage-clock.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { runJanitor } from '../../../src/outbox/janitor.ts'
import { createRelay } from '../../../src/outbox/relay.ts'
import { relaySettings } from '../../../src/outbox/options.ts'
import { sqlite } from '../../../src/sqlite.ts'
import { type ManualClock, manualClock } from '../../../src/testing/manual-clock.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'
import { message, pass, testTransport } from '../../unit/outbox/support.ts'

const HOUR_MS = 3_600_000
const LIMITS = { backMs: HOUR_MS, claimMs: 15_000, retryMs: 300_000 }

/** A store on a file, under a wall clock that can be set while the monotonic one goes on. */
async function setup() {
  const folder = temporaryFolder()
  const path = folder.file('app.db')
  const true_: ManualClock = manualClock()
  const set = { by: 0 }
  const clock = {
    now: () => true_.now() + set.by,
    monotonic: () => true_.monotonic(),
    sleep: (ms: number, signal?: AbortSignal) => true_.sleep(ms, signal),
  }
  // Time stands still meanwhile, so nothing may wait for a disk in another thread.
  const store = sqlite({ path, clock, flush: 'before-visible', logger: silentLogger })
  await store.open()
  const database = new DatabaseSync(path)
  const waits = (): Record<string, number> =>
    Object.fromEntries(
      database
        .prepare('SELECT id, visible_at FROM mersal_outbox ORDER BY position')
        .all()
        .map(({ id, visible_at: at }) => [
          String(id),
          Math.max(0, Math.round((Number(at) - clock.now()) / 1000)),
        ]),
    )
  let tokens = 0
  return {
    clock,
    set,
    time: true_,
    store,
    storage: store.outbox.clock as StorageClock,
    waits,
    add: (id: string, delayMs = 0, key?: string) =>
      store.unitOfWork((tx) =>
        store.outbox.save(tx, [{ ...message(id, key === undefined ? {} : { key }), delayMs }]),
      ),
    claim: (claimMs: number, fromPosition = 0n): Promise<readonly ClaimedMessage[]> =>
      store.outbox.claim({ limit: 100, claimMs, fromPosition, token: `t${tokens++}` }),
    async [Symbol.asyncDispose]() {
      database.close()
      await store[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

test('SQLite: everything waits as long as before the clock was set back, and repairing twice changes nothing more', async () => {
  await using place = await setup()
  const { add, claim, set, store, storage, time, waits } = place
  const release = async (rows: readonly ClaimedMessage[], delayMs: number): Promise<unknown> =>
    store.outbox.settle(
      rows.map(({ position, token }) => ({ kind: 'release', position, token, delayMs })),
    )
  await add('given back')
  await time.advance(2 * HOUR_MS)
  await release(await claim(15_000), 5000)
  await add('ended')
  await claim(60_000)
  await time.advance(600_000)
  const [third] = await add('retried')
  const [retried] = await claim(15_000, third?.position)
  if (retried === undefined) throw new Error('it was not claimed')
  const { position, token } = retried
  await store.outbox.settle([
    { kind: 'retry', position, token, delayMs: 50_000, error: new Error('no') },
  ])
  await time.advance(10_000)
  const [fourth] = await add('claimed')
  const claimed = await claim(12_000, fourth?.position)
  await add('delayed', 100_000)
  await add('due')
  set.by = -HOUR_MS
  await storage.recover(LIMITS)
  const lawful = { 'given back': 0, ended: 0, retried: 40, claimed: 12, delayed: 100, due: 0 }
  expect(waits()).toEqual(lawful)
  expect(await storage.recover(LIMITS)).toBe(0)
  expect((await storage.read()).ahead).toBe(0)
  const [{ position: at, token: mine } = { position: 0n, token: '' }] = claimed
  expect(await store.outbox.settle([{ kind: 'sent', position: at, token: mine }])).toEqual({
    stale: 0,
  })
})

test('SQLite: doctor tells of messages that wait unlawfully long, until they are put right', async () => {
  await using place = await setup()
  const { add, claim, set, store, storage, time } = place
  const waitsFound = async (): Promise<unknown> =>
    (await store.operations?.examine?.())?.find(({ subject }) => subject === 'sqlite waits')
  await time.advance(2 * 86_400_000)
  await add('delayed', 30 * 86_400_000)
  await add('claimed')
  await claim(15_000)
  expect(await waitsFound()).toMatchObject({ level: 'ok' })
  set.by = -86_400_000
  expect(await waitsFound()).toMatchObject({
    level: 'warning',
    text: expect.stringContaining(
      ': 1 of the messages wait for longer than any claim or retry lasts, 2 were added later',
    ) as string,
    remedy: expect.stringContaining('UPDATE mersal_outbox SET visible_at = unixepoch()') as string,
  })
  await storage.recover({ ...LIMITS, backMs: 86_400_000 })
  expect(await waitsFound()).toMatchObject({ level: 'ok' })
})

test('SQLite: P5 P10: a relay that runs when the clock is set back publishes what waits, in the order of each key', async () => {
  await using place = await setup()
  const { add, claim, clock, set, store, time } = place
  const transport = testTransport()
  const warnings: unknown[] = []
  let tokens = 0
  await using relay = createRelay({
    environment: {
      app: 'test',
      logger: { ...silentLogger, warn: (fields) => warnings.push(fields) },
      clock,
      random: () => 0.5,
      newToken: () => `token${tokens++}`,
    },
    storage: store.outbox,
    transports: new Map([['default', transport]]),
    settings: relaySettings(),
  })
  await add('m0', 0, 'a')
  await claim(15_000) // by one that died
  for (const id of ['m1', 'm2', 'm3']) await add(id, 0, 'a')
  relay.start()
  await pass(time, () => time.monotonic() > 0 && relay.state === 'running', 100, 'started')
  await time.advance(5100)
  set.by = -HOUR_MS
  await pass(time, () => transport.published.length === 4, 30_000, 'everything is published')
  expect(transport.published.map(({ message: { id } }) => id)).toEqual(['m0', 'm1', 'm2', 'm3'])
  expect(warnings).toEqual([expect.objectContaining({ backMs: HOUR_MS })])
  const stopped = relay.stop()
  await time.advance(100)
  await stopped
})

test('SQLite: P4: a clock that is set forward while a janitor runs removes no record early', async () => {
  await using place = await setup()
  const { clock, set, store, time } = place
  const key = { consumer: 'c', messageId: 'm' }
  await store.unitOfWork((tx) => store.tracker.track(tx, key))
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
    { app: 'test', inbox, clock, logger: silentLogger },
    { signal: closing.signal },
  )
  await pass(time, () => rounds === 1, 1000, 'a first round')
  set.by = 864_000_000
  await time.advance(60_000)
  await pass(time, () => rounds === 2, 1000, 'a round with the other clock')
  expect(await store.unitOfWork((tx) => store.tracker.track(tx, key))).toBe('duplicate')
  closing.abort()
  await janitor
})
