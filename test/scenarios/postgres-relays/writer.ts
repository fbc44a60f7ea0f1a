/**
 * A writer process: several connections that commit and roll back units with messages, each with
 * its business rows.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool, type PoolClient } from 'pg'
import { event, type EventType, Mersal } from '../../../src/index.ts'
import type { Sender } from '../../../src/app/types.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { KEYS, LANES, LATE_MS, type Order, type WriterPlan, type Written } from './plan.ts'
import { seededRandom } from '../../../scripts/seeded-random.ts'

class Undo extends Error {}

interface Lane {
  readonly plan: WriterPlan
  readonly app: Mersal<PostgresClient>
  readonly happened: EventType<{ readonly writer: string }>
  readonly pool: Pool
  readonly random: () => number
  readonly count: { -readonly [Name in keyof Written]: number }
  readonly enough: AbortSignal
  /** Late units of this connection hold the lock of a key. */
  readonly lateWithKey: boolean
}

/** The messages of one unit, and their business rows: both exist or neither does. */
interface Unit {
  readonly tx: PostgresClient
  readonly publish: Sender['publish']
  /** Place of the next message in the unit. */
  next: number
}

async function write(
  { plan, happened }: Lane,
  unit: Unit,
  keys: readonly (string | undefined)[],
  late = false,
): Promise<void> {
  const ids: string[] = []
  for (const partitionKey of keys) {
    const options = partitionKey === undefined ? {} : { partitionKey }
    ids.push(await unit.publish(happened, { writer: plan.name }, options))
  }
  await unit.tx.query(
    `insert into ${plan.schema}.business (id, key, place, late)
     select u.id, u.key, $3::int + u.n, $4::boolean from unnest($1::uuid[], $2::text[]) with ordinality as u(id, key, n)`,
    [ids, keys.map((key) => key ?? null), unit.next, late],
  )
  unit.next += keys.length
}

const someKey = ({ random }: Lane): string => `key ${Math.floor(random() * KEYS)}`
const keyOrNone = (lane: Lane): string | undefined =>
  lane.random() < 0.2 ? undefined : someKey(lane)

/** A unit of our own: its messages are written last. Returns how many were committed. */
async function ownUnit(lane: Lane): Promise<number> {
  const keys = Array.from({ length: 1 + Math.floor(lane.random() * 4) }, () => keyOrNone(lane))
  const undo = lane.random() < 0.15
  try {
    await lane.app.transaction(async (tx, { publish }) => {
      await write(lane, { tx, publish, next: 0 }, keys)
      if (undo) throw new Undo()
    })
    return keys.length
  } catch (error) {
    if (!(error instanceof Undo)) throw error
    lane.count.rolledBack += 1
    return 0
  }
}

/** Messages behind a savepoint, which is then undone or kept. Returns how many are left. */
async function behindSavepoint(lane: Lane, unit: Unit, key: string | undefined): Promise<number> {
  const undo = lane.random() < 0.5
  await unit.tx.query('savepoint here')
  await write(lane, unit, [key, undefined])
  await unit.tx.query(undo ? 'rollback to savepoint here' : 'release savepoint here')
  lane.count[undo ? 'savepointsUndone' : 'savepointsKept'] += 1
  return undo ? 0 : 2
}

/**
 * In a transaction that belongs to the test: each message is written at once. One key only, so that
 * no two units wait for each other.
 */
async function foreignUnit(lane: Lane, tx: PoolClient, late: boolean): Promise<number> {
  const key = late && !lane.lateWithKey ? undefined : late ? someKey(lane) : keyOrNone(lane)
  const undo = !late && lane.random() < 0.15
  await tx.query('begin')
  const unit: Unit = { tx, publish: lane.app.within(tx).publish, next: 0 }
  await write(lane, unit, [key], late)
  let messages = 1
  if (lane.random() < 0.3) messages += await behindSavepoint(lane, unit, key)
  if (lane.random() < 0.3) {
    await write(lane, unit, [key], late)
    messages += 1
  }
  if (late) await sleep(LATE_MS)
  await tx.query(undo ? 'rollback' : 'commit')
  if (late) lane.count.late += 1
  if (undo) lane.count.rolledBack += 1
  return undo ? 0 : messages
}

async function runLane(lane: Lane): Promise<void> {
  const client = await lane.pool.connect()
  const share = lane.plan.messages / LANES
  for (let done = 0, units = 1; done < share || !lane.enough.aborted; units += 1) {
    const late = units % lane.plan.lateEvery === 0
    done +=
      late || lane.random() < 0.4 ? await foreignUnit(lane, client, late) : await ownUnit(lane)
    lane.count.units += 1
  }
  client.release()
}

export async function writer(plan: WriterPlan): Promise<Written> {
  const pool = new Pool({
    connectionString: plan.database,
    application_name: plan.name,
    max: 2 * LANES,
  })
  const store = postgres({ pool, schema: plan.schema, migrate: 'check' })
  // The relays are other processes; this app only writes.
  const app = new Mersal({
    name: 'writer',
    store,
    transport: memoryTransport(),
    sendOnly: true,
    outbox: { runRelay: false },
  })
  await app.start()
  const enough = new AbortController()
  process.on('message', (order: Order) => {
    if (order.kind === 'stop') enough.abort()
  })
  const count = { units: 0, rolledBack: 0, late: 0, savepointsUndone: 0, savepointsKept: 0 }
  const lanes = Array.from({ length: LANES }, (_, index) =>
    runLane({
      plan,
      app,
      happened: event(plan.schema),
      pool,
      count,
      enough: enough.signal,
      random: seededRandom(plan.seed * LANES + index),
      lateWithKey: index === 0,
    }),
  )
  await Promise.all(lanes)
  await app.stop()
  await pool.end()
  return count
}
