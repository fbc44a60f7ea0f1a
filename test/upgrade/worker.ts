/** One process of the test: `node worker.ts PLAN`, the plan as JSON, and a channel to the test. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Mersal, Sender } from '../../src/index.ts'
import type { Transport } from '../../src/core/transport.ts'
import { loadFaces } from '../chaos/source.ts'
import type { Desk } from './desks/desk.ts'
import {
  APP,
  type Body,
  DELAY_MS,
  DELAYED,
  DELAYED_AT_ONCE,
  HELD,
  keyed,
  NOWHERE,
  type Order,
  type Report,
  STRAY,
  topics,
  UNKEYED,
  type WorkerPlan,
} from './plan.ts'

const plan = JSON.parse(process.argv[2] ?? '') as WorkerPlan
const source = await loadFaces(plan.source)
const Booked = source.core.event<Body>(topics.booked)
const Stray = source.core.command<Body>(topics.stray)
let published = 0
let handled = 0

const tell = (report: Report): void => {
  if (process.connected) process.send?.(report)
}
const tellCounts = (): void => tell({ kind: 'counts', published, handled })

function counted(transport: Transport): Transport {
  const publish = transport.publish.bind(transport)
  return Object.assign(transport, {
    publish: (...given: Parameters<typeof publish>) => {
      const answers = publish(...given)
      for (const answer of answers)
        void answer.then(({ kind }) => {
          if (kind === 'confirmed') published += 1
          tellCounts()
        })
      return answers
    },
  })
}

interface Writing<Tx> {
  readonly app: Mersal<Tx>
  readonly desk: Desk<Tx>
}

interface Writes {
  readonly line: string
  readonly say: Say
  readonly foreign: boolean
}

type Say = (sender: Sender, body: Body) => Promise<unknown>

const book =
  (options: { readonly partitionKey?: string; readonly delayMs?: number }): Say =>
  ({ publish }, body) =>
    publish(Booked, body, options)

/** Of MariaDB: the transaction was rolled back, and whoever wrote it has to repeat it. */
const isDeadlock = (error: unknown): boolean =>
  error instanceof Error &&
  ('errno' in error ? error.errno === 1213 : error.cause !== undefined && isDeadlock(error.cause))

/** In a transaction of Mersal, or in one that it only joins: such rows wait for any relay. */
async function write<Tx>(writing: Writing<Tx>, writes: Writes): Promise<void> {
  const { app, desk } = writing
  const { line, say, foreign } = writes
  const both = async (tx: Tx, sender: Sender): Promise<void> => {
    await say(sender, { line, n: await desk.draw(tx, line) })
  }
  try {
    if (foreign) await desk.foreign((tx) => both(tx, app.within(tx)))
    else await app.transaction((tx, sender) => both(tx, sender))
  } catch (error) {
    if (!isDeadlock(error)) throw error
    await write(writing, writes)
  }
}

async function round<Tx>(writing: Writing<Tx>, foreign: boolean): Promise<void> {
  for (const line of keyed)
    await write(writing, { line, say: book({ partitionKey: line }), foreign })
  await write(writing, { line: UNKEYED, say: book({}), foreign })
}

async function burden<Tx>(writing: Writing<Tx>): Promise<void> {
  const foreign = false
  for (let made = 0; made < DELAYED_AT_ONCE; made += 1)
    await write(writing, { line: DELAYED, say: book({ delayMs: DELAY_MS }), foreign })
  const held: Say = ({ send }, body) => send(Stray, body, { partitionKey: HELD })
  for (let made = 0; made < 2; made += 1) await write(writing, { line: HELD, say: held, foreign })
  await write(writing, { line: STRAY, say: ({ send }, body) => send(Stray, body), foreign })
}

/** Carries orders out, one after the other. */
function obey<Tx>(writing: Writing<Tx>): void {
  const { deadLetters } = writing.desk.store.admin
  let last: Promise<void> = Promise.resolve()
  let enough = new AbortController()
  const work = async (order: Order, signal: AbortSignal): Promise<void> => {
    const listed = async () => await deadLetters.list()
    if (order === 'write')
      for (let foreign = false; !signal.aborted; foreign = !foreign) {
        await round(writing, foreign)
        await sleep(10)
      }
    if (order === 'burden') await burden(writing)
    if (order === 'retry') await deadLetters.retry((await listed()).map(({ key }) => key))
    const letters = order === 'letters' ? await listed() : []
    tell({
      kind: 'done',
      order,
      letters: letters.map((letter) => {
        const { id, reason, blocksKey } = letter
        const attempts = 'history' in letter ? letter.history.map(({ attempt }) => attempt) : []
        return { id, reason, blocksKey, attempts }
      }),
    })
  }
  process.on('message', (order: Order) => {
    if (order === 'write') enough = new AbortController()
    if (order === 'quiet') enough.abort()
    const { signal } = enough
    last = last.then(() => work(order, signal))
  })
}

async function run<Tx>(desk: Desk<Tx>): Promise<void> {
  const app = new source.core.Mersal<Tx>({
    name: plan.role === 'app' ? APP : `${APP}-relay`,
    store: desk.store,
    transport: counted(desk.transport),
    sendOnly: plan.role === 'relay',
    routes: { [topics.stray]: NOWHERE },
    outbox: {
      relay: {
        pollIntervalMs: 100,
        batchSize: 5,
        maxAttempts: 2,
        retry: { firstMs: 50, longestMs: 50 },
      },
    },
  })
  if (plan.role === 'app')
    app.handle(Booked, async ({ line, n }, { tx }) => {
      await desk.effect(tx, line, n)
      handled += 1
      tellCounts()
    })
  const { stopped } = source.core.stopOnSignals(app)
  await app.start()
  obey({ app, desk })
  tell({ kind: 'ready' })
  process.exit(await stopped)
}

process.on('disconnect', () => process.exit(1))
const { address } = plan
if (address.kind === 'sqlite')
  await run(await (await import('./desks/sqlite.ts')).openSqlite(source, address))
else if (address.kind === 'mysql')
  await run(await (await import('./desks/mysql.ts')).openMysql(source, address))
else await run(await (await import('./desks/postgres.ts')).openPostgres(source, address))
