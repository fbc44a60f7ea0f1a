/**
 * One process of a run: `node worker.ts FILE` with its plan as JSON in the file, and a channel to
 * the harness.
 */
import { readFileSync } from 'node:fs'
import type { Logger, Mersal } from '../../src/index.ts'
import { crashPoints, type CrashPoint } from '../../src/testing/crash-points.ts'
import type { Desk } from './desks/desk.ts'
import { listenAsClerk } from './features/clerk.ts'
import { CLERK, featureTypes } from './features/plan.ts'
import { produceFeatures } from './features/produce.ts'
import { errorText, openHistory } from './history.ts'
import { watchMemory } from './memory.ts'
import { openMeters } from './meters.ts'
import { noted } from './noted.ts'
import {
  type Body,
  CLAIM_MS,
  CONSUMER,
  GRACE_MS,
  type Order,
  type Report,
  topics,
  type WorkerPlan,
} from './plan.ts'
import { digestOf, produce } from './producer.ts'
import { loadSourceOfProcess } from './source.ts'

const plan = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as WorkerPlan
const history = openHistory(plan.history, plan.name, plan.life)
const source = await loadSourceOfProcess(plan.source)
const meters = openMeters(source)
const enough = new AbortController()
let trap: Extract<Order, { kind: 'at' }> | undefined

const tell = (report: Report): void => {
  if (process.connected) process.send?.(report)
}

function at(point: CrashPoint): void {
  if (trap?.point !== point) return
  const { action } = trap
  trap = undefined
  process.kill(process.pid, action === 'kill' ? 'SIGKILL' : 'SIGSTOP')
}

const plain = (_: string, value: unknown): unknown =>
  value instanceof Error ? errorText(value) : typeof value === 'bigint' ? String(value) : value
const write = (level: string) => (fields: object, text: string) =>
  history.note({
    op: 'log',
    phase: 'ok',
    level,
    text: `${text} ${JSON.stringify(fields, plain)}`.slice(0, 600),
  })
const logger: Logger = {
  debug: write('debug'),
  info: write('info'),
  warn: write('warn'),
  error: write('error'),
}

/**
 * Short, so that the work of a killed process is taken over soon; patient, so that an outage makes
 * no dead letters.
 */
const relay = {
  claimMs: CLAIM_MS,
  expressGraceMs: GRACE_MS,
  pollIntervalMs: 200,
  batchSize: 50,
  retry: { firstMs: 100, longestMs: 1000 },
  breaker: { firstMs: 100, longestMs: 1000 },
  maxAttempts: 200,
}

/** Whether the first delivery of this message fails. */
const failsFirst = (id: string): boolean => Number.parseInt(id.slice(-2), 16) < 8

function consume<Tx>(app: Mersal<Tx>, desk: Desk<Tx>): void {
  const booked = source.core.event<Body>(topics.booked)
  const billed = source.core.event<Body>(topics.billed)
  app.handle(
    booked,
    async ({ text }, { tx, publish, message, attempt }) => {
      await desk.effect(tx, message.id, digestOf(text))
      at('C4')
      if (attempt === 1 && failsFirst(message.id))
        throw new Error('the first delivery of this message fails')
      if (Number.parseInt(message.id.slice(-4, -2), 16) >= 64) return
      const key = `bill ${message.id.slice(-1)}`
      const id = await publish(billed, { text: message.id }, { partitionKey: key })
      await desk.business(tx, [{ id, topic: topics.billed, key, digest: digestOf(message.id) }])
    },
    { batch: plan.batch },
  )
}

async function run<Tx>(desk: Desk<Tx>): Promise<void> {
  const ports = noted(desk.store, desk.transport, history, `${plan.name}#${plan.life}`)
  const consumer = plan.role === 'consumer'
  const clerk = plan.features === 'clerk'
  const app = new source.core.Mersal<Tx>({
    name: clerk ? CLERK : consumer ? CONSUMER : plan.name,
    routes: Object.fromEntries(Object.values(featureTypes).map((type) => [type, CLERK])),
    ...crashPoints({ ...ports, at }),
    sendOnly: !consumer,
    outbox: {
      relay: {
        ...relay,
        express: plan.express && plan.commitLog ? 'commit-log' : plan.express,
        commitLog: plan.commitLog && plan.role === 'relay',
      },
      runRelay: plan.role === 'relay' || (plan.express && !plan.commitLog),
    },
    receive: {
      orderPerKey: clerk,
      concurrency: Math.max(4, 2 * plan.batch),
      immediateRetries: 0,
      maxDeliveries: 200,
      backoff: { firstMs: 400, longestMs: 400 },
      handlerTimeoutMs: 10_000,
    },
    stopGraceMs: 5000,
    logger,
  })
  if (clerk) listenAsClerk(app, desk, source, at)
  else if (consumer) consume(app, desk)
  const { stopped } = source.core.stopOnSignals(app)
  const ended = stopped.then((code) => {
    history.note({ op: 'meters', phase: 'ok', readings: meters() })
    process.exit(code)
  })
  await app.start()
  tell({ kind: 'ready', wall: Date.now() })
  if (plan.role === 'producer') {
    const booked = source.core.event<Body>(topics.booked)
    const { core } = source
    const common = { desk, app, history, seed: plan.seed, enough: enough.signal }
    await Promise.all([
      produce({ ...common, booked }),
      plan.features === 'producer' ? produceFeatures({ ...common, core }) : undefined,
    ])
    tell({ kind: 'quiet' })
  }
  await ended
}

process.on('disconnect', () => process.exit(1))
process.on('SIGTERM', () => enough.abort())
process.on('message', (order: Order) => {
  if (order.kind === 'at') trap = order
  else if (order.kind === 'forget') {
    trap = undefined
    tell({ kind: 'forgot' })
  } else enough.abort()
})
watchMemory(history)

const { address } = plan
if (address.kind === 'sqlite') {
  const { openSqlite } = await import('./desks/sqlite.ts')
  await run(await openSqlite(source, { ...plan, address }, at, logger))
} else if (address.kind === 'mysql') {
  const { openMysql } = await import('./desks/mysql.ts')
  await run(await openMysql(source, { ...plan, address }, at, logger))
} else {
  const { openPostgres } = await import('./desks/postgres.ts')
  await run(await openPostgres(source, { ...plan, address }, at, logger))
}
