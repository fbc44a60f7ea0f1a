import assert from 'node:assert/strict'
import type { ClaimedMessage } from '../../core/outbox.ts'
import {
  claim,
  commit,
  labels,
  message,
  type OutboxHarness,
  type OutboxParts,
  sent,
} from './harness.ts'

const ROWS = 2000
const KEYS = 40
const CLAIMERS = 20

interface Race {
  done: number
  /** Changes whenever somebody gets rows or has settled them. */
  version: number
  /** Claimers that found nothing and wait for somebody to settle. */
  readonly parked: (() => void)[]
  readonly rowsHeld: Set<bigint>
  readonly keysHeld: Map<string, string>
  readonly lastOfKey: Map<string, number>
}

/** Twenty claim loops on two stores share 2,000 rows, half of them of 40 keys. */
export async function raceClaimers(harness: OutboxHarness): Promise<void> {
  await using store = await harness.open()
  await using other = await harness.open()
  const messages = Array.from({ length: ROWS }, (_, index) =>
    message(
      `${index}`,
      index % 2 === 0 ? {} : { partitionKey: `k${Math.floor(index / 2) % KEYS}` },
    ),
  )
  await commit(store, messages)
  const race: Race = {
    done: 0,
    version: 0,
    parked: [],
    rowsHeld: new Set(),
    keysHeld: new Map(),
    lastOfKey: new Map(),
  }
  await Promise.all(
    Array.from({ length: CLAIMERS }, (_, index) =>
      claimLoop(index % 2 === 0 ? store : other, race),
    ),
  )
  assert.equal(race.done, ROWS)
  assert.deepEqual(await claim(store), [])
}

async function claimLoop(store: OutboxParts, race: Race): Promise<void> {
  while (race.done < ROWS) {
    const { version } = race
    let rows = await claim(store, { limit: 50 })
    if (rows.length === 0) {
      if (race.done >= ROWS || version !== race.version) continue
      if (race.parked.length < CLAIMERS - 1) {
        await new Promise<void>((resolve) => race.parked.push(resolve))
        continue
      }
      // Everybody else waits, so nobody holds anything and nobody is claiming.
      rows = await claim(store, { limit: 50 })
      assert.ok(
        rows.length > 0,
        `a claim found nothing although nobody holds anything and ${ROWS - race.done} rows are left`,
      )
    }
    await work(store, race, rows)
  }
}

async function work(
  store: OutboxParts,
  race: Race,
  rows: readonly ClaimedMessage[],
): Promise<void> {
  race.version++
  take(rows, race)
  await new Promise((resolve) => setImmediate(resolve))
  giveBack(rows, race)
  assert.deepEqual(await store.outbox.settle(rows.map(sent)), { stale: 0 })
  race.done += rows.length
  race.version++
  for (const wake of race.parked.splice(0)) wake()
}

function take(rows: readonly ClaimedMessage[], race: Race): void {
  const numbers = labels(rows).map(Number)
  for (const [
    index,
    {
      position,
      token,
      message: { partitionKey },
    },
  ] of rows.entries()) {
    assert.ok(!race.rowsHeld.has(position), `row ${position} was given to two claimers`)
    race.rowsHeld.add(position)
    if (partitionKey === undefined) continue
    const holder = race.keysHeld.get(partitionKey)
    assert.ok(
      holder === undefined || holder === token,
      `key ${partitionKey} was given to two claimers`,
    )
    race.keysHeld.set(partitionKey, token)
    const last = race.lastOfKey.get(partitionKey) ?? -1
    const number = numbers[index] as number
    assert.ok(number > last, `row ${number} of key ${partitionKey} came after row ${last}`)
    race.lastOfKey.set(partitionKey, number)
  }
}

/**
 * Before the settlement is sent: once it has happened, others may rightly hold the next rows of the
 * key.
 */
function giveBack(rows: readonly ClaimedMessage[], race: Race): void {
  for (const { message } of rows)
    if (message.partitionKey !== undefined) race.keysHeld.delete(message.partitionKey)
}
