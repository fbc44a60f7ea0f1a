/** One process of the crash matrix: `node worker.ts '<WorkerPlan as JSON>'`. */
import { appendFileSync } from 'node:fs'
import { subscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type Events, Mersal, event } from '../../../src/index.ts'
import type { MessageTracker } from '../../../src/core/tracker.ts'
import type { Store } from '../../../src/core/store.ts'
import type { Transport } from '../../../src/core/transport.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { type CrashPoint, commitPoints, crashPoints } from '../../../src/testing/crash-points.ts'
import {
  HOLD_MS,
  TRANSACTIONS,
  type WorkerPlan,
  files,
  isRolledBack,
  keysOf,
  queues,
} from './plan.ts'
import { noteFlushes } from './power.ts'

interface Part {
  readonly number: number
  readonly part: number
}

const Registered = event<Part>('students.registered')
const Billed = event<Part>('students.billed')

const plan = JSON.parse(process.argv[2] ?? '') as WorkerPlan
if (plan.power !== undefined) noteFlushes(plan.power, { lies: plan.bug === 'answer before flush' })
let reached = 0

function at(point: CrashPoint): void {
  if (plan.crash?.point !== point) return
  reached += 1
  if (reached === plan.crash.nth) process.kill(process.pid, 'SIGKILL')
}

/**
 * Notes who takes which row, and when, so that the audit can tell a crash from a claim that ran out
 * on a slow machine.
 */
function noted(store: Store<DatabaseSync>): Store<DatabaseSync> {
  const note = (ids: readonly string[]): void => {
    if (ids.length > 0)
      appendFileSync(
        join(plan.folder, files.taken),
        ids.map((id) => `${process.pid} ${id}\n`).join(''),
      )
  }
  const outbox: typeof store.outbox = {
    ...store.outbox,
    save: async (tx, messages, options) => {
      const saved = await store.outbox.save(tx, messages, options)
      note(messages.filter((_, index) => saved[index]?.kind === 'born-claimed').map(({ id }) => id))
      return saved
    },
    claim: async (request) => {
      const claimed = await store.outbox.claim(request)
      note(claimed.map(({ message }) => message.id))
      return claimed
    },
  }
  return { ...store, outbox }
}

const relay = {
  claimMs: HOLD_MS,
  expressGraceMs: HOLD_MS,
  pollIntervalMs: 50,
  retry: { firstMs: 20, longestMs: 100 },
  express: plan.lane === 'express',
}

/** Where the power fails, SQLite copies nothing by itself, so that every flush is seen. */
function openFile(file: string): DatabaseSync {
  const database = new DatabaseSync(join(plan.folder, file))
  if (plan.power !== undefined) database.exec('PRAGMA wal_autocheckpoint = 0')
  return database
}

function open(file: string): { store: Store<DatabaseSync>; transport: Transport } {
  const transport = sqliteQueue({
    open: () => openFile(files.broker),
    visibilityMs: HOLD_MS,
    pollIntervalMs: 50,
  })
  const store = sqlite({ open: () => commitPoints(openFile(file), at) })
  return crashPoints({ store: noted(store), transport, at })
}

class Undo extends Error {}

async function produce(): Promise<void> {
  const { store, transport } = open(files.registrar)
  const reader = openFile(files.registrar)
  const runRelay = plan.lane === 'express'
  const app = new Mersal({
    name: 'registrar',
    store,
    transport,
    sendOnly: true,
    outbox: { relay, runRelay },
  })
  await app.start()
  for (let number = 0; number < TRANSACTIONS; number += 1) {
    const done = reader.prepare('SELECT 1 FROM students WHERE number = ?').get(number) !== undefined
    if (done) continue
    const withOutbox = plan.bug === undefined || plan.bug === 'no inbox'
    const publishBoth = async (publish: typeof app.direct.publish): Promise<void> => {
      for (const [part, partitionKey] of keysOf(number).entries())
        await publish(Registered, { number, part }, { partitionKey })
    }
    const unit = app.transaction(async (tx, { publish }) => {
      tx.prepare('INSERT INTO students (number) VALUES (?)').run(number)
      if (plan.bug === 'publish before commit') await publishBoth(app.direct.publish)
      if (withOutbox) await publishBoth(publish)
      if (isRolledBack(number)) throw new Undo()
    })
    const committed = await unit.then(
      () => true,
      (error: unknown) => {
        if (error instanceof Undo) return false
        throw error
      },
    )
    if (committed && plan.power !== undefined)
      appendFileSync(join(plan.folder, files.answered), `${number}\n`)
    if (committed && plan.bug === 'publish after commit without outbox')
      await publishBoth(app.direct.publish)
  }
  // A row that the killed process held comes free after its grace, so this one stays until all is
  // drained.
  await untilTold(() => app.stop())
}

async function relayRows(): Promise<void> {
  const { store, transport } = open(files.registrar)
  const app = new Mersal({ name: 'registrar', store, transport, sendOnly: true, outbox: { relay } })
  await app.start()
  await untilTold(() => app.stop())
}

const forgetful: MessageTracker<DatabaseSync> = { track: async () => 'first', prune: async () => 0 }

async function handleInFinance(): Promise<void> {
  const { store, transport } = open(files.finance)
  const idempotency = plan.bug === 'no inbox' ? { idempotency: { tracker: forgetful } } : {}
  const app = new Mersal({
    name: queues.finance,
    store,
    transport,
    outbox: { relay },
    receive: { concurrency: 4 },
    ...idempotency,
  })
  app.handle(
    Registered,
    async ({ number, part }, { tx, publish }) => {
      tx.prepare('INSERT INTO effects (number, part) VALUES (?, ?)').run(number, part)
      at('C4')
      await publish(Billed, { number, part }, { partitionKey: `bill${number % 2}` })
    },
    { batch: plan.batch ?? 1 },
  )
  subscribe('mersal:batch', (event) => {
    const { messages, outcome } = event as Events['mersal:batch']
    if (outcome === 'handled') appendFileSync(join(plan.folder, files.batches), `${messages}\n`)
  })
  await app.start()
  await untilTold(() => app.stop())
}

/** The harness closes standard input when it is done. */
async function untilTold(stop: () => Promise<void>): Promise<void> {
  process.stdin.resume()
  await new Promise((resolve) => process.stdin.once('end', resolve))
  await stop()
}

const roles = { producer: produce, relay: relayRows, finance: handleInFinance }
await roles[plan.role]()
// Whatever the handles still hold open, this process has done its work.
process.exit(0)
