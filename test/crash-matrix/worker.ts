/**
 * One process of a cell: `node worker.js` with its plan as JSON in the environment. The relay is
 * `mersal relay`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { command, event, Mersal, stopOnSignals } from '../../src/index.ts'
import type { CommitLog, LogCondition } from '../../src/core/commit-log.ts'
import type { MessageTracker } from '../../src/core/tracker.ts'
import { openBroker } from './brokers/open.ts'
import { openDesk } from './desks/open.ts'
import {
  failsFirst,
  goesNowhere,
  HOLD_MS,
  isForeign,
  isPoison,
  isRolledBack,
  keysOf,
  NOWHERE,
  type Part,
  relay,
  topics,
  TRANSACTIONS,
  type WorkerPlan,
} from './plan.ts'
import { hasty, notingUnknowns } from './unknowns.ts'

const plan = JSON.parse(process.env['CRASH_MATRIX_PLAN'] ?? '') as WorkerPlan
const { kind, role } = plan
const Registered = event<Part>(topics.registered)
const Billed = event<Part>(topics.billed)
const Nowhere = command<Part>(topics.nowhere)

const at = (moment: string): void =>
  (globalThis as { crashMatrixAt?: (moment: string) => void }).crashMatrixAt?.(moment)

const desk = await openDesk(plan, {
  migrate: role === 'migrator' ? 'auto' : 'check',
  program: false,
})
const followed = Promise.withResolvers<void>()
const store = { ...desk.store, ...telling(desk.store.commitLog) }

/** Tells when the app has heard that somebody reads the log. */
function telling(log: CommitLog | undefined): { readonly commitLog?: CommitLog } {
  if (log === undefined) return {}
  const condition = async (): Promise<LogCondition> => {
    const found = await log.condition()
    if (found.state === 'followed') setImmediate(followed.resolve)
    return found
  }
  return { commitLog: { ...log, condition } }
}

const opened = kind.road === 'straight' ? desk.queue() : await openBroker(plan)

/**
 * Whoever prunes keeps the others from it; that must be the consumer, which may have to die there.
 */
const tidiedByOthers: MessageTracker<unknown> = {
  ...store.tracker,
  prune: () => Promise.resolve(0),
}
const forgetful: MessageTracker<unknown> = {
  track: () => Promise.resolve('first'),
  prune: (options) => store.tracker.prune(options),
}

function trackerOf(): MessageTracker<unknown> {
  if (role !== 'finance') return tidiedByOthers
  return plan.bug === 'no inbox' ? forgetful : store.tracker
}

const relays = kind.road !== 'relay' && !(role === 'finance' && plan.options.oneRelay === true)
const transport =
  plan.bug === 'settle before confirm' ? hasty(opened) : notingUnknowns(opened, process.cwd())
const app = new Mersal<unknown>({
  name: role === 'finance' ? plan.queue : 'registrar',
  store,
  transport,
  sendOnly: role !== 'finance',
  routes: { [topics.nowhere]: { queue: `${plan.queue}.${NOWHERE}` } },
  outbox: {
    relay: { ...relay(plan), express: kind.log === true ? 'commit-log' : relays },
    runRelay: relays,
  },
  receive: {
    concurrency: 4,
    immediateRetries: 0,
    maxDeliveries: 6,
    backoff: { firstMs: 30, longestMs: 30 },
  },
  stopGraceMs: 30_000,
  idempotency: { tracker: trackerOf() },
})

class Undo extends Error {}

/** Between two transactions, where a relay reads the log. */
const PAUSE_MS = 20

async function write(
  number: number,
  tx: unknown,
  publish: typeof app.direct.publish,
  host = false,
): Promise<void> {
  await desk.addStudent(tx, number, host)
  for (const [part, partitionKey] of keysOf(number).entries()) {
    await publish(Registered, { number, part }, partitionKey === undefined ? {} : { partitionKey })
  }
}

const foreign = (number: number): Promise<void> =>
  desk.foreign(isRolledBack(number) ? 'rollback' : 'commit', (tx) =>
    write(number, tx, app.within(tx).publish, true),
  )

async function own(number: number): Promise<void> {
  await app.transaction(async (tx, { publish, send }) => {
    if (plan.bug === 'publish before commit') await write(number, tx, app.direct.publish)
    else await write(number, tx, publish)
    if (goesNowhere(number)) await send(Nowhere, { number, part: 2 })
    if (isRolledBack(number)) throw new Undo()
  })
}

/** What the killed process has committed may become visible only now. */
async function once(number: number): Promise<void> {
  if (await desk.hasStudent(number)) return
  try {
    await (isForeign(number) ? foreign(number) : own(number))
  } catch (error) {
    if (!(error instanceof Undo) && !desk.isTaken(error)) throw error
  }
}

async function produce(): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < TRANSACTIONS) {
      await once(next++)
      // Else most find an earlier message of their key, and are left to the claims.
      if (kind.log === true) await sleep(PAUSE_MS)
    }
  }
  // Before, nothing is written for the log.
  if (kind.log === true) await followed.promise
  await Promise.all([lane(), lane(), lane()])
}

function handle(): void {
  const tried = new Set<string>()
  app.handle(Registered, async ({ number, part }, { tx, publish, message }) => {
    await desk.addEffect(tx, { number, part }, message.id)
    at('handler')
    if (plan.options.slowHandlers === true && number === 2) await sleep(HOLD_MS * 0.6)
    if (isPoison(number) && part === 0) {
      if (!(await desk.isPutRight(tx))) throw new Error('nobody can handle this')
    }
    if (failsFirst(number) && part === 0 && !tried.has(message.id)) {
      tried.add(message.id)
      throw new Error('the first try fails')
    }
    await publish(Billed, { number, part }, { partitionKey: `bill${number % 2}` })
  })
}

if (role === 'migrator') {
  await store.open()
  if (kind.road === 'straight') await transport.subscribe(plan.queue, [])
  process.exit(0)
}
if (role === 'finance') handle()
const { stopped } = stopOnSignals(app)
await app.start()
if (role === 'writer') await produce()
process.stdout.write('ready\n')
process.exit(await stopped)
