import type { memoryStore as MemoryStore } from '../../src/stores/memory.ts'
import type { RelayOptions } from '../../src/outbox/options.ts'
import { createBroker, type Broker } from './broker.ts'
import { violationsOf } from './checks.ts'
import { createLedger, type Ledger } from './ledger.ts'
import { startProcess, type Process, type StoreFaults } from './process.ts'
import { createScheduler, type Owner, type Scheduler } from './scheduler.ts'
import { simulateSlowDestination } from './slow-destination.ts'
import { stopAll } from './stop-all.ts'
import { createSimulatedLog } from './log/simulated-log.ts'
import type { Outcome, Schedule, Subject } from './subject.ts'
import { runWriter, type WriterPlan } from './writer.ts'

/** One seed in this number is a schedule with a slow destination. */
const SLOW_EVERY = 8
const ACTIVE_MS = 2500
/** Everything has healed; this much virtual time must be enough. */
const QUIET_MS = 60_000
const RELAYS = 3

function relayOptions(scheduler: Scheduler): RelayOptions {
  const batchSize = scheduler.between(1, 8)
  return {
    pollIntervalMs: 200,
    batchSize,
    window: batchSize * scheduler.between(1, 3),
    claimMs: 1000,
    maxAttempts: scheduler.between(3, 5),
    retry: { firstMs: 40, longestMs: 300 },
    breaker: { firstMs: 50, longestMs: 400 },
    onDead: scheduler.chance(0.5) ? 'skip' : 'block-key',
    express: scheduler.chance(0.8),
    expressGraceMs: 600,
  }
}

/** So few rows that most sweeps take many stretches, and now and then the usual numbers. */
function stretchOf(
  scheduler: Scheduler,
): { readonly sweep: number; readonly look: number } | undefined {
  return scheduler.chance(0.25)
    ? undefined
    : { sweep: scheduler.between(1, 6), look: scheduler.between(1, 4) }
}

interface World {
  readonly scheduler: Scheduler
  readonly ledger: Ledger
  readonly broker: Broker
  readonly storeFaults: StoreFaults
  readonly processes: Process[]
  crashes: number
  pauses: number
}

/**
 * One schedule: three processes with a relay and a writer each, until everything is quiet; then the
 * promises are checked.
 */
export function simulate(
  seed: number,
  subject: Subject,
  schedule: Schedule = { log: false },
): Promise<Outcome> {
  return seed % SLOW_EVERY === 0 && !schedule.log
    ? simulateSlowDestination(seed, subject)
    : simulateFaults(seed, subject, schedule)
}

async function simulateFaults(
  seed: number,
  { createRelay, memoryStore }: Subject,
  schedule: Schedule,
): Promise<Outcome> {
  const scheduler = createScheduler(seed)
  const ledger = createLedger(() => scheduler.now)
  const faultFree = scheduler.chance(0.2)
  const broker = createBroker(scheduler, ledger, scheduler.chance(0.5) ? 'none' : 'per-key')
  const storeFaults: StoreFaults = {
    claimFails: 0,
    claimReplyLost: 0,
    settleFails: 0,
    settleReplyLost: 0,
  }
  const database: Owner = { name: 'database', alive: true, pausedUntil: 0 }
  const store = memoryStore({
    clock: scheduler.clockOf(database, 0),
    lockWaitMs: 100_000,
    pause: () => Promise.resolve(),
  })
  const options = { ...relayOptions(scheduler), commitLog: schedule.log }
  const stretch = stretchOf(scheduler)
  const drops = { chance: 0 }
  const log = schedule.log ? createSimulatedLog(scheduler, () => drops.chance) : undefined
  const world: World = {
    scheduler,
    ledger,
    broker,
    storeFaults,
    processes: [],
    crashes: 0,
    pauses: 0,
  }
  if (!faultFree) dealFaults(world)
  if (schedule.log && !faultFree) drops.chance = scheduler.random() * 0.05

  const launch = (slot: number, generation: number): void => {
    const name = `p${slot}.${generation}`
    world.processes[slot] = startProcess(
      name,
      {
        createRelay,
        scheduler,
        ledger,
        broker,
        storage: store.outbox,
        faults: storeFaults,
        options,
        stretch,
        log,
      },
      () => {
        world.crashes++
        scheduler.after(scheduler.between(20, 300), undefined, () => launch(slot, generation + 1))
      },
    )
  }
  for (let slot = 0; slot < RELAYS; slot++) launch(slot, 0)
  const plan = writerPlan(scheduler, faultFree)
  const writers = Array.from({ length: RELAYS }, (_, slot) =>
    runWriter(`w${slot}`, {
      scheduler,
      ledger,
      store,
      process: () => world.processes[slot] as Process,
      plan,
      log,
    }),
  )
  let written = false
  let failure: unknown
  Promise.all(writers).then(
    () => (written = true),
    (error: unknown) => (failure = error),
  )
  if (!faultFree) chaos(world)
  await scheduler.run(ACTIVE_MS, () => failure !== undefined)
  heal(world)
  let quiet = false
  const look = (): void => {
    scheduler.after(300, undefined, () => {
      quiet = written && isQuiet(world)
      if (!quiet) look()
    })
  }
  look()
  await scheduler.run(ACTIVE_MS + QUIET_MS, () => quiet || failure !== undefined)
  if (failure !== undefined) throw failure
  const violations = await stopAll(world)
  const stats = await store.admin.stats()
  const dead = await store.admin.deadLetters.list({ limit: 1000 })
  violations.push(
    ...violationsOf({
      ledger,
      dead,
      pending: stats.pending,
      faultFree,
      maxAttempts: options.maxAttempts ?? 10,
    }),
  )
  const records = [...ledger.records.values()]
  const publishes = records.reduce((sum, record) => sum + record.publishes, 0)
  const counts = {
    messages: records.length,
    publishes,
    crashes: world.crashes,
    pauses: world.pauses,
    dead: dead.length,
    logged: records.filter((record) => record.logged === true).length,
  }
  return { violations, trace: ledger.trace, faultFree, counts }

  /**
   * Nothing is due any more: every committed message is accounted for, or waits behind a dead
   * letter.
   */
  function isQuiet({ processes }: World): boolean {
    if (processes.some(({ owner }) => !owner.alive)) return false
    return settledFor(store)
  }
}

const IDLE_ROUNDS = 3
const rounds = new WeakMap<object, { last: string; same: number }>()

/** True when the outbox has not changed for a while and holds nothing that is claimed. */
function settledFor(store: ReturnType<typeof MemoryStore>): boolean {
  const seen = rounds.get(store) ?? { last: '', same: 0 }
  rounds.set(store, seen)
  void store.admin.stats().then(({ pending, claimed, dead }) => {
    const now = `${pending} ${claimed} ${dead}`
    seen.same = claimed === 0 && now === seen.last ? seen.same + 1 : 0
    seen.last = now
  })
  return seen.same >= (seen.last.startsWith('0 ') ? 1 : IDLE_ROUNDS * 10)
}

function writerPlan(scheduler: Scheduler, faultFree: boolean): WriterPlan {
  const plan = {
    units: scheduler.between(3, 8),
    keys: scheduler.between(1, 4),
    destinations: scheduler.between(1, 3),
    rollback: 0.1,
    delayed: 0.05,
  }
  // A commit that comes after half of the grace is no fault; one that comes after all of it is
  // claimed by whoever comes first.
  if (faultFree) return { ...plan, lateCommit: 0.1, commitUnknown: 0, poison: 0, killers: 0 }
  return {
    ...plan,
    lateCommit: 0.1,
    commitUnknown: 0.05,
    poison: scheduler.chance(0.3) ? 0.05 : 0,
    killers: scheduler.chance(0.1) ? 1 : 0,
  }
}

function dealFaults({ scheduler, broker, storeFaults }: World): void {
  const level = (most: number): number => (scheduler.chance(0.5) ? scheduler.random() * most : 0)
  broker.faults.refuse = level(0.15)
  broker.faults.unknownLost = level(0.1)
  broker.faults.unknownAccepted = level(0.1)
  broker.faults.late = level(0.1)
  broker.faults.unavailable = level(0.1)
  storeFaults.claimFails = level(0.1)
  storeFaults.claimReplyLost = level(0.05)
  storeFaults.settleFails = level(0.1)
  storeFaults.settleReplyLost = level(0.1)
}

/** Crashes, pauses (often beyond the claim) and outages at random moments. */
function chaos(world: World): void {
  const { scheduler, broker } = world
  const any = (): Process => world.processes[scheduler.between(0, RELAYS - 1)] as Process
  const at = (act: () => void): unknown =>
    scheduler.after(scheduler.between(50, ACTIVE_MS - 300), undefined, act)
  for (let count = scheduler.between(0, 3); count > 0; count--) at(() => any().crash())
  for (let count = scheduler.between(0, 3); count > 0; count--) {
    at(() => {
      world.pauses++
      any().pause(scheduler.between(50, 2200))
    })
  }
  if (scheduler.chance(0.4)) {
    const name = `d${scheduler.between(1, 3)}`
    at(() => {
      broker.down.add(name)
      world.ledger.write(`outage of ${name}`)
      scheduler.after(scheduler.between(100, 1500), undefined, () => broker.down.delete(name))
    })
  }
}

function heal({ broker, storeFaults, ledger }: World): void {
  Object.assign(broker.faults, {
    refuse: 0,
    unknownLost: 0,
    unknownAccepted: 0,
    late: 0,
    unavailable: 0,
  })
  Object.assign(storeFaults, {
    claimFails: 0,
    claimReplyLost: 0,
    settleFails: 0,
    settleReplyLost: 0,
  })
  broker.down.clear()
  ledger.write('healed')
}
