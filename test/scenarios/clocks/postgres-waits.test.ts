import { beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import type { StorageClock } from '../../../src/core/storage-clock.ts'
import { systemClock } from '../../../src/lib/async/clock.ts'
import { createRelay } from '../../../src/outbox/relay.ts'
import { relaySettings } from '../../../src/outbox/options.ts'
import type { Relay } from '../../../src/outbox/types.ts'
import type { PostgresClient, PostgresStore } from '../../../src/postgres.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { claim, message, newToken, sent } from '../../postgres/messages.ts'
import { storeHarness, type StoreHarness } from '../../postgres/store-harness.ts'
import { testTransport, type TestTransport } from '../../unit/outbox/support.ts'

const present = await serverAnswers()
const HOUR_MS = 3_600_000
const LIMITS = { backMs: HOUR_MS, claimMs: 15_000, retryMs: 300_000 }
type Store = PostgresStore<PostgresClient>

const clockOf = ({ outbox }: Store): StorageClock => outbox.clock as StorageClock
const add = (store: Store, label: string, key?: string, delayMs = 0): Promise<unknown> =>
  store.unitOfWork((tx) => store.outbox.save(tx, [{ ...message(label, key), delayMs }]))

/** What is stored is then the same as after the clock was set back. */
const setBack = ({ database: { schema, query } }: StoreHarness): Promise<unknown> =>
  query(
    `update ${schema}.outbox set visible_at = visible_at + interval '1 hour', added_at = added_at + interval '1 hour'`,
  )

/** Seconds that each waits; 0: it is due. */
async function waits({
  database: { schema, query },
}: StoreHarness): Promise<Record<string, number>> {
  const rows = await query(`select type, case when isfinite(visible_at)
      then greatest(0, ceil(extract(epoch from visible_at - clock_timestamp()))) else -1 end::text as wait
    from ${schema}.outbox order by position`)
  return Object.fromEntries(
    rows.map(({ type, wait }) => [String(type).replace('test.', ''), Number(wait)]),
  )
}

interface Row {
  /** Seconds from now. */
  readonly added: number
  readonly visible: number | 'infinity'
  readonly set?: string
}

async function insert(
  harness: StoreHarness,
  store: Store,
  rows: Readonly<Record<string, Row>>,
): Promise<void> {
  const { schema, query } = harness.database
  for (const [label, { added, visible, set }] of Object.entries(rows)) {
    await add(store, label)
    const at = (seconds: number): string => `clock_timestamp() + interval '${seconds} seconds'`
    await query(`update ${schema}.outbox set added_at = ${at(added)}, visible_at = ${visible === 'infinity' ? `'infinity'` : at(visible)}
      ${set === undefined ? '' : `, ${set}`} where type = 'test.${label}'`)
  }
}

const token = `token = gen_random_uuid(), attempts = 1`
const before: Readonly<Record<string, Row>> = {
  due: { added: -600, visible: -600 },
  'delayed by its sender': { added: -10, visible: 600 },
  'claimed by a living relay': { added: -10, visible: 12, set: token },
  'claimed, long ended': { added: -1800, visible: -1200, set: token },
  refused: { added: -10, visible: 50, set: `attempts = 2, error = 'not now'` },
  'refused, due again': { added: -5000, visible: -100, set: `attempts = 2, error = 'not now'` },
  'given back': { added: -5000, visible: -100, set: `error = ''` },
  'given back for a while': { added: -5000, visible: 25, set: `error = ''` },
  'a dead letter': {
    added: -10,
    visible: 'infinity',
    set: `died_at = clock_timestamp(), dead_reason = 'refused'`,
  },
}

let begun = 0
beforeEach(() => {
  begun = performance.now()
})

/** So many seconds, less what has passed since the test began. */
const about = (seconds: number): unknown => ({
  asymmetricMatch: (value: unknown) =>
    typeof value === 'number' &&
    value <= seconds &&
    value >= seconds - (performance.now() - begun) / 1000 - 1,
})

/** A relay on this storage that looks at its clock every half second instead of every five. */
function relayOn(
  store: Store,
  clock: StorageClock,
  transport: TestTransport,
  warnings: unknown[],
): Relay {
  const logger = { ...silentLogger, warn: (fields: unknown) => warnings.push(fields) }
  return createRelay({
    environment: {
      app: 'test',
      logger,
      clock: { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 10, signal) },
      random: Math.random,
      newToken,
    },
    storage: { ...store.outbox, clock },
    transports: new Map([['default', transport]]),
    settings: relaySettings({ claimMs: 2000, expressGraceMs: 2000, pollIntervalMs: 100 }),
  })
}

describe.skipIf(!present)('waits on PostgreSQL after the clock was set back', () => {
  test('everything waits as long as before, no message comes before its delay, and repairing twice changes nothing more', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await insert(harness, store, before)
    await setBack(harness)
    // After the jump, by the new clock.
    await insert(harness, store, {
      'claimed after the jump': { added: 3000, visible: 14, set: token },
      'delayed after the jump': { added: 0, visible: 7200 },
      'refused after the jump': {
        added: -100,
        visible: 290,
        set: `attempts = 1, error = 'not now'`,
      },
    })
    expect(await clockOf(store).recover(LIMITS)).toBe(9)
    const expected = {
      due: 0,
      'delayed by its sender': about(600),
      'claimed by a living relay': about(12),
      'claimed, long ended': 0,
      refused: about(50),
      'refused, due again': 0,
      'given back': 0,
      'given back for a while': about(25),
      'a dead letter': -1,
      'claimed after the jump': about(14),
      'delayed after the jump': about(7200),
      'refused after the jump': about(290),
    }
    expect(await waits(harness)).toEqual(expected)
    expect(await clockOf(store).recover(LIMITS)).toBe(0)
    expect(await waits(harness)).toEqual(expected)
    expect((await clockOf(store).read()).ahead).toBe(0)
  })

  test('when nobody saw by how much, nothing waits longer than it lawfully can from now, and delays are kept whole', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await insert(harness, store, before)
    await setBack(harness)
    expect((await clockOf(store).read()).ahead).toBeGreaterThan(HOUR_MS - 900_000)
    await clockOf(store).recover({ ...LIMITS, backMs: 0 })
    expect(await waits(harness)).toEqual({
      due: 0,
      'delayed by its sender': about(610),
      'claimed by a living relay': about(15),
      'claimed, long ended': about(15),
      refused: about(300),
      'refused, due again': about(300),
      'given back': about(300),
      'given back for a while': about(300),
      'a dead letter': -1,
    })
    expect(await clockOf(store).recover({ ...LIMITS, backMs: 0 })).toBe(0)
  })

  test('a message that a relay gave back is told from one that its sender delayed', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, query } = harness.database
    await add(store, 'given back')
    await query(`update ${schema}.outbox set added_at = added_at - interval '1 day'`)
    const [row] = await claim(store)
    if (row === undefined) throw new Error('nothing was claimed')
    await store.outbox.settle([{ ...sent(row), kind: 'release' }])
    await add(store, 'delayed', undefined, 86_400_000)
    await query(`update ${schema}.outbox set added_at = added_at - interval '2 hours', visible_at = visible_at - interval '2 hours'
      where type = 'test.delayed'`)
    await setBack(harness)
    await clockOf(store).recover(LIMITS)
    expect(await waits(harness)).toEqual({ 'given back': 0, delayed: about(86_400 - 3600) })
  })

  test('doctor tells of messages that wait unlawfully long, until they are put right', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const doctor = async (): Promise<unknown> =>
      (await store.operations?.examine?.())?.filter(({ subject }) => subject === 'postgres waits')
    await insert(harness, store, before)
    expect(await doctor()).toEqual([
      {
        level: 'ok',
        subject: 'postgres waits',
        text: 'none is longer than a claim, a retry or its sender asks',
      },
    ])
    await setBack(harness)
    const found = {
      level: 'warning',
      subject: 'postgres waits',
      text: expect.stringContaining(
        ': 1 of the messages wait for longer than any claim or retry lasts, 5 were added later',
      ) as string,
    }
    expect(await doctor()).toEqual([expect.objectContaining(found)])
    await clockOf(store).recover(LIMITS)
    expect(await doctor()).toEqual([expect.objectContaining({ level: 'ok' })])
  })

  test('P7: whoever held a claim settles it after the repair, and who lost it changes nothing', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await add(store, 'held')
    const [held] = await claim(store, { claimMs: 12_000 })
    await setBack(harness)
    await clockOf(store).recover(LIMITS)
    expect(await claim(store)).toEqual([])
    await add(store, 'lost')
    const [lost] = await claim(store, { claimMs: 0 })
    const [taken] = await claim(store)
    if (held === undefined || lost === undefined || taken === undefined)
      throw new Error('a claim is missing')
    expect(await store.outbox.settle([sent(held), sent(lost)])).toEqual({ stale: 1 })
    expect(await waits(harness)).toEqual({ lost: about(600) })
  })

  test('rows that somebody is changing are passed over and cause no circle of waits', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, pool } = harness.database
    await insert(harness, store, { one: { added: 0, visible: 0 }, two: { added: 0, visible: 0 } })
    await setBack(harness)
    const client = await pool.connect()
    await client.query('begin')
    await client.query(`select from ${schema}.outbox where type = 'test.one' for update`)
    expect(await clockOf(store).recover(LIMITS)).toBe(1)
    await client.query('rollback')
    client.release()
    expect(await clockOf(store).recover(LIMITS)).toBe(1)
  })

  test('P5 P10: a relay that starts after the jump publishes what waits, in the order of each key', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    for (let n = 0; n < 10; n++) await add(store, `a${n}`, 'a')
    await claim(store, { claimMs: 1000 })
    for (let n = 10; n < 20; n++) await add(store, `a${n}`, 'a')
    await setBack(harness)
    const transport = testTransport()
    const warnings: unknown[] = []
    await using relay = relayOn(store, clockOf(store), transport, warnings)
    relay.start()
    await expect.poll(() => transport.published.length, { timeout: 30_000 }).toBe(20)
    expect(transport.published.map(({ message: { type } }) => type)).toEqual(
      Array.from({ length: 20 }, (_, n) => `test.a${n}`),
    )
    expect(warnings).toHaveLength(1)
  })

  test('P5 P10: a relay that runs when the clock jumps publishes what waits, in the order of each key, and says so once', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const real = clockOf(store)
    let hours = 1
    let looks = 0
    const clock: StorageClock = {
      ...real,
      async read() {
        looks++
        const { now, ahead } = await real.read()
        return { now: now + hours * HOUR_MS, ahead: hours > 0 ? 0 : ahead }
      },
    }
    const transport = testTransport()
    const warnings: unknown[] = []
    await using relay = relayOn(store, clock, transport, warnings)
    relay.start()
    await expect.poll(() => looks, { timeout: 30_000 }).toBeGreaterThan(1)
    // Claimed by one that died, with more behind them, all added long before.
    await store.unitOfWork(async (tx) => {
      const late = Array.from({ length: 40 }, (_, n) => ({ ...message(`a${n}`, 'a'), delayMs: 0 }))
      await store.outbox.save(tx, late)
      const { schema } = harness.database
      await tx.query(`update ${schema}.outbox set visible_at = visible_at + interval '1 hour', added_at = added_at - interval '1 hour',
        token = case when type like 'test.a_' then gen_random_uuid() end, attempts = 1`)
    })
    expect(transport.published).toEqual([])
    hours = 0
    await expect.poll(() => transport.published.length, { timeout: 30_000 }).toBe(40)
    expect(transport.published.map(({ message: { type } }) => type)).toEqual(
      Array.from({ length: 40 }, (_, n) => `test.a${n}`),
    )
    expect(warnings).toEqual([
      expect.objectContaining({ backMs: expect.closeTo(HOUR_MS, -4) as number }),
    ])
  })
})
