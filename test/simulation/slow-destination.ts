import { type Broker, createBroker } from './broker.ts'
import { violationsOf } from './checks.ts'
import { createLedger, type Ledger, type Record } from './ledger.ts'
import { type Process, startProcess } from './process.ts'
import { createScheduler, type Owner, type Scheduler } from './scheduler.ts'
import { stopAll } from './stop-all.ts'
import type { Outcome, Subject } from './subject.ts'

const RELAYS = 2
const MAX_ATTEMPTS = 3
/** Messages for the slow destination that wait from the beginning. */
const BACKLOG = 60
/** Messages for the fast one, which come one by one. */
const FAST = 25
/** Until then it has shown which destination is slow. */
const WARM_UP_MS = 4500
/** A message for the fast destination is with the broker after this, however slow the other is. */
export const MOST_LATENCY_MS = 300
const LONGEST_MS = 600_000

interface World {
  readonly scheduler: Scheduler
  readonly ledger: Ledger
  readonly broker: Broker
  readonly store: ReturnType<Subject['memoryStore']>
  readonly processes: readonly Process[]
}

/**
 * One schedule without faults: a destination that confirms after seconds has more messages than the
 * relays can hold, and another one, which confirms at once, gets one message now and then. The
 * second one must not wait for the first one.
 */
export async function simulateSlowDestination(seed: number, subject: Subject): Promise<Outcome> {
  const world = createWorld(seed, subject)
  const { scheduler, ledger, store } = world
  const progress = { written: false, failure: undefined as unknown }
  write(world).then(
    () => (progress.written = true),
    (error: unknown) => (progress.failure = error),
  )
  const isDone = (): boolean =>
    progress.failure !== undefined || (progress.written && allSettled(world))
  await scheduler.run(LONGEST_MS, isDone)
  if (progress.failure !== undefined) throw progress.failure
  const violations = [...late(ledger), ...(await stopAll(world))]
  const { pending } = await store.admin.stats()
  const ending = { ledger, dead: [], pending, faultFree: true, maxAttempts: MAX_ATTEMPTS }
  violations.push(...violationsOf(ending))
  const records = [...ledger.records.values()]
  const publishes = records.reduce((sum, record) => sum + record.publishes, 0)
  const counts = { messages: records.length, publishes, crashes: 0, pauses: 0, dead: 0, logged: 0 }
  return { violations, trace: ledger.trace, faultFree: true, counts }
}

function createWorld(seed: number, { createRelay, memoryStore }: Subject): World {
  const scheduler = createScheduler(seed)
  const ledger = createLedger(() => scheduler.now)
  const broker = createBroker(scheduler, ledger, scheduler.chance(0.5) ? 'none' : 'per-key')
  broker.slow.set('slow', scheduler.between(1000, 3000))
  const database: Owner = { name: 'database', alive: true, pausedUntil: 0 }
  const store = memoryStore({
    clock: scheduler.clockOf(database, 0),
    lockWaitMs: 100_000,
    pause: () => Promise.resolve(),
  })
  const batchSize = scheduler.between(4, 8)
  const options = {
    pollIntervalMs: 200,
    batchSize,
    window: batchSize * scheduler.between(1, 3),
    claimMs: 20_000,
    maxAttempts: MAX_ATTEMPTS,
    express: scheduler.chance(0.5),
  }
  const faults = { claimFails: 0, claimReplyLost: 0, settleFails: 0, settleReplyLost: 0 }
  const ports = { createRelay, scheduler, ledger, broker, faults, options, stretch: undefined }
  const processes = Array.from({ length: RELAYS }, (_, slot) =>
    startProcess(`p${slot}`, { ...ports, storage: store.outbox }, () => {}),
  )
  return { scheduler, ledger, broker, store, processes }
}

/** The backlog first, then one message after the other for the fast destination. */
async function write(world: World): Promise<void> {
  const { scheduler, processes } = world
  for (let number = 0; number < BACKLOG; number++) await commit(world, `slow.${number}`, 'slow')
  await scheduler.sleep(WARM_UP_MS)
  for (let number = 0; number < FAST; number++) {
    await scheduler.sleep(scheduler.between(20, 300))
    await commit(world, `fast.${number}`, 'fast')
    if (scheduler.chance(0.7)) processes[scheduler.between(0, RELAYS - 1)]?.relay.wake()
  }
}

async function commit({ scheduler, ledger, store }: World, id: string, to: string): Promise<void> {
  const record: Record = {
    id,
    key: scheduler.chance(0.3) ? `${to}-${scheduler.between(1, 3)}` : undefined,
    to,
    nature: 'plain',
    position: undefined,
    committed: false,
    publishes: 0,
    accepted: [],
    refusals: 0,
    faults: 0,
    losses: 0,
    hits: 0,
  }
  ledger.records.set(id, record)
  await store.unitOfWork(async (tx) => {
    const [saved] = await store.outbox.save(tx, [messageOf(record)])
    record.position = saved?.position
    record.committed = true
  })
  record.committedAt = scheduler.now
  ledger.write(`commit ${id}`)
}

function messageOf({ id, key, to }: Record): Parameters<World['store']['outbox']['save']>[1][0] {
  return {
    id,
    type: 'simulated',
    headers: {},
    body: new Uint8Array(0),
    to: { transport: 'default', kind: 'queue', name: to },
    ...(key === undefined ? {} : { partitionKey: key }),
  }
}

function allSettled({ ledger, processes }: World): boolean {
  if (processes.some(({ relay }) => relay.held > 0)) return false
  return [...ledger.records.values()].every(({ accepted }) => accepted.length > 0)
}

function late({ records }: Ledger): string[] {
  const found: string[] = []
  for (const { id, to, acceptedAt, committedAt } of records.values()) {
    if (to !== 'fast' || acceptedAt === undefined || committedAt === undefined) continue
    const tookMs = Math.round(acceptedAt - committedAt)
    if (tookMs > MOST_LATENCY_MS)
      found.push(`latency: ${id} took ${tookMs} ms beside a slow destination`)
  }
  return found
}
