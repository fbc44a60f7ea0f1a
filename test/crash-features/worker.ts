/** One process of a cell: `node worker.js` with its plan as JSON in the environment. */
import { Mersal, stopOnSignals } from '../../src/index.ts'
import type { Transport } from '../../src/core/transport.ts'
import { withPublish } from '../crash-matrix/unknowns.ts'
import { forgetful, withBug } from './bugs.ts'
import { listen } from './clerk.ts'
import { openDesk } from './desk.ts'
import { clerkOf, HOLD_MS, shopOf, types, type WorkerPlan } from './plan.ts'
import { askAll, serve } from './shop.ts'

const plan = JSON.parse(process.env['CRASH_MATRIX_PLAN'] ?? '') as WorkerPlan
const { role, cell, bug } = plan

const at = (moment: string): void =>
  (globalThis as { crashMatrixAt?: (moment: string) => void }).crashMatrixAt?.(moment)

/** What becomes of requests and replies with the broker. */
function watched(transport: Transport): Transport {
  const names = new Map<string, string>([
    [types.quote, 'request'],
    ['mersal.reply', 'reply'],
  ])
  return withPublish(transport, (messages, options) => {
    for (const { type } of messages) if (names.has(type)) at(`${names.get(type)} published`)
    return transport.publish(messages, options).map(async (answer, index) => {
      const outcome = await answer
      const name = names.get(messages[index]?.type ?? '')
      if (name !== undefined && outcome.kind === 'confirmed') at(`${name} confirmed`)
      return outcome
    })
  })
}

const desk = openDesk(plan)
const store = withBug(desk.store, bug)
const app = new Mersal<unknown>({
  name: role === 'shop' ? shopOf(cell) : clerkOf(cell),
  store,
  transport: watched(desk.transport),
  sendOnly: role === 'shop',
  routes: Object.fromEntries(
    [types.start, types.pay, types.remind, types.quote].map((type) => [type, clerkOf(cell)]),
  ),
  outbox: {
    relay: { claimMs: HOLD_MS, expressGraceMs: HOLD_MS, pollIntervalMs: 200, batchSize: 6 },
  },
  receive: {
    concurrency: 4,
    immediateRetries: 0,
    maxDeliveries: 50,
    backoff: { firstMs: 50, longestMs: 50 },
  },
  stopGraceMs: 30_000,
  idempotency: { tracker: bug === 'no inbox' ? forgetful(store.tracker) : store.tracker },
  logger: false,
})
if (role === 'clerk') listen(app, desk, bug)
const { stopped } = stopOnSignals(app)
await app.start()
const port = role === 'shop' ? await serve(app, desk, at) : 0
process.stdout.write(`ready ${port}\n`)
if (role === 'shop') await askAll(app, desk, cell)
process.exit(await stopped)
