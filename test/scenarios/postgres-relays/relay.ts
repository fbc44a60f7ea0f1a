/** A relay process: an app that only relays, with notes on what it publishes and settles. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool, type PoolClient } from 'pg'
import { Mersal } from '../../../src/index.ts'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import type { OutboxStorage } from '../../../src/core/outbox.ts'
import type { PublishOutcome, Transport } from '../../../src/core/transport.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { type Bug, headers, type Order, type RelayPlan, type Report } from './plan.ts'
import { SAID } from './witness.ts'

const tell = (report: Report): void => {
  if (process.connected) process.send?.(report)
}

/** Where a bug goes, and what it leaves there. */
const bugs: Readonly<
  Record<Bug, { readonly statement: string; readonly good: RegExp; readonly bad: string }>
> = {
  'settle without token': {
    statement: 'token = $2::uuid',
    good: /(?:o\.)?token = \$2::uuid/,
    bad: '$2::uuid is not null',
  },
  'claim without gap test': {
    statement: 'skip locked',
    good: /\(g\.gap is null or f\.position < g\.gap\) and/,
    bad: '',
  },
}

/**
 * The statement with these bugs in it. Throws if there is no place for one: then it would prove
 * nothing.
 */
function broken(text: string, wanted: readonly Bug[]): string {
  let result = wanted.includes('settle without token')
    ? text.replace('o.position = u.position and o.token = u.token', 'o.position = u.position')
    : text
  for (const bug of wanted) {
    const { statement, good, bad } = bugs[bug]
    if (!text.includes(statement)) continue
    if (!good.test(text)) throw new Error(`no place for the bug '${bug}' in: ${text}`)
    result = result.replace(good, bad)
  }
  return result
}

interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

const isStatement = (given: unknown): given is Statement =>
  typeof given === 'object' && given !== null && 'values' in given

/** Settles one claim, or the sent messages of several. */
const settles = /token = \$2::uuid|\$2::uuid\[\]\) as u\(position, token\)/

/**
 * Tells the witness which token, or tokens, each settle says it has, and puts the bugs into the
 * statements.
 */
function watch(client: PoolClient, bugs: readonly Bug[]): void {
  const query = client.query.bind(client) as (...given: readonly unknown[]) => Promise<unknown>
  const watched = async (given: unknown, ...rest: readonly unknown[]): Promise<unknown> => {
    if (!isStatement(given)) return await query(given, ...rest)
    if (settles.test(given.text))
      await query(`select set_config('${SAID}', $1, true)`, [String(given.values[1])])
    return await query({ ...given, text: broken(given.text, bugs) })
  }
  client.query = watched as typeof client.query
}

/**
 * Writes the claim into the headers of each message, and tells the harness what became of claims.
 */
function notedOutbox(outbox: OutboxStorage<PostgresClient>): OutboxStorage<PostgresClient> {
  const failed = (doing: 'claim' | 'settle', error: unknown): never => {
    tell({
      kind: 'failed',
      doing,
      error: error instanceof Error ? `${error.message}: ${String(error.cause)}` : String(error),
    })
    throw error
  }
  return {
    ...outbox,
    async claim(request) {
      const rows = await outbox.claim(request).catch((error: unknown) => failed('claim', error))
      return rows.map((row) => {
        const noted = {
          ...row.message.headers,
          [headers.token]: row.token,
          [headers.position]: row.position.toString(),
        }
        return { ...row, message: { ...row.message, headers: noted } }
      })
    },
    async settle(settlements) {
      const result = await outbox
        .settle(settlements)
        .catch((error: unknown) => failed('settle', error))
      const rows = settlements.map(({ position, token }) => ({
        position: position.toString(),
        token,
      }))
      tell({ kind: 'settled', stale: result.stale, rows })
      return result
    },
  }
}

interface Gate {
  readonly held: ReadonlySet<string>
  readonly open: Promise<void>
  readonly letGo: () => void
}

function newGate(ids: readonly string[] = []): Gate {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { held: new Set(ids), open: promise, letGo: resolve }
}

let gate = newGate()
let longestDawdleMs = 0

/**
 * Signs each message with who published it and when, and keeps back what the harness wants to be
 * late.
 */
function notedTransport(transport: Transport, relay: string): Transport {
  const sign = (message: OutgoingMessage): OutgoingMessage => ({
    ...message,
    headers: { ...message.headers, [headers.relay]: relay, [headers.at]: String(Date.now()) },
  })
  const noted = async (
    message: OutgoingMessage,
    outcome: Promise<PublishOutcome>,
  ): Promise<PublishOutcome> => {
    const answer = await outcome
    if (longestDawdleMs > 0) await sleep(Math.random() * longestDawdleMs)
    if (answer.kind === 'unknown')
      tell({ kind: 'unknown', id: message.id, token: message.headers[headers.token] ?? '' })
    return answer
  }
  const publish: Transport['publish'] = (messages, options) => {
    const free = messages.filter(({ id }) => !gate.held.has(id))
    const answers = new Map(
      transport.publish(free.map(sign), options).map((answer, index) => [free[index], answer]),
    )
    return messages.map((message) =>
      noted(message, answers.get(message) ?? later(message, options)),
    )
  }
  const later = async (
    ...[message, options]: [OutgoingMessage, Parameters<Transport['publish']>[1]]
  ): Promise<PublishOutcome> => {
    await gate.open
    const [answer] = transport.publish([sign(message)], options)
    if (answer === undefined) throw new Error('no answer for the message')
    return await answer
  }
  return {
    name: transport.name,
    features: transport.features,
    publish,
    subscribe: (...given) => transport.subscribe(...given),
    consume: (...given) => transport.consume(...given),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  }
}

export async function relay(plan: RelayPlan): Promise<void> {
  const pool = new Pool({
    connectionString: plan.database,
    application_name: plan.name,
    max: 4,
    keepAlive: true,
  })
  pool.on('connect', (client) => watch(client, plan.bugs ?? []))
  const store = postgres({ pool, relayPool: pool, schema: plan.schema, migrate: 'check' })
  const app = new Mersal({
    name: 'relay',
    store: { ...store, outbox: notedOutbox(store.outbox) },
    transport: notedTransport(rabbitmq({ url: plan.broker }), plan.name),
    sendOnly: true,
    outbox: { relay: plan.claimMs === undefined ? {} : { claimMs: plan.claimMs } },
  })
  const told = new Promise<void>((resolve) => {
    process.on('message', (order: Order) => {
      if (order.kind === 'hold') gate = newGate(order.ids)
      else if (order.kind === 'let go') {
        gate.letGo()
        gate = newGate()
      } else if (order.kind === 'dawdle') longestDawdleMs = 200
      else resolve()
    })
  })
  await app.start()
  tell({ kind: 'ready' })
  await told
  await app.stop()
  await pool.end()
}
