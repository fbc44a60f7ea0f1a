/**
 * A function of a serverless platform: it drains the outbox once, prints what `drain()` answered,
 * and ends. Killed at one point if the plan says so: `PLAN='<Plan as JSON>' node process.ts`.
 */
import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import {
  command,
  type DrainOptions,
  Mersal,
  type Store,
  type Transport,
} from '../../../src/index.ts'
import { mysql } from '../../../src/mysql.ts'
import { postgres } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'

export interface Plan {
  readonly database:
    | { readonly kind: 'sqlite'; readonly path: string }
    | { readonly kind: 'postgres'; readonly url: string; readonly schema: string }
    | { readonly kind: 'mysql'; readonly url: string }
  readonly broker: { readonly amqp: string } | { readonly path: string }
  readonly bounds: Omit<DrainOptions, 'signal'>
  readonly kill?: Point
}

/** In the order of one claim. */
export const points = ['claimed', 'confirmed', 'settled'] as const
export type Point = (typeof points)[number]

export const QUEUE = 'target'
export const Work = command<{ key: string; number: number }>('work.do')

export function transportOf({ broker }: Pick<Plan, 'broker'>): Transport {
  return 'amqp' in broker ? rabbitmq({ url: broker.amqp }) : sqliteQueue({ path: broker.path })
}

export function storeOf({ database }: Pick<Plan, 'database'>): Store<unknown> {
  switch (database.kind) {
    case 'sqlite':
      return sqlite({ path: database.path })
    case 'postgres': {
      const pool = new Pool({ connectionString: database.url, max: 4 })
      return closing(postgres({ pool, schema: database.schema }), pool)
    }
    case 'mysql':
    default: {
      const pool = createPool({ uri: database.url, connectionLimit: 4 })
      return closing(mysql({ pool }), pool)
    }
  }
}

/** Ends the pool behind the store, so that the process can end. */
function closing(store: Store<unknown>, pool: { end(): Promise<void> }): Store<unknown> {
  return {
    ...store,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await pool.end()
    },
  }
}

/** Of claims that nobody holds any more the next call has to wait for a second. */
export function appOf(store: Store<unknown>, transport: Transport, runRelay: boolean) {
  return new Mersal({
    name: 'shop',
    store,
    transport,
    routes: { [Work.name]: QUEUE },
    sendOnly: true,
    outbox: { runRelay, relay: { claimMs: 1000 } },
  })
}

type At = (point: Point) => void

function trapped(store: Store<unknown>, at: At): Store<unknown> {
  const { outbox } = store
  const outboxTrap: typeof outbox = {
    save: outbox.save.bind(outbox),
    prune: outbox.prune.bind(outbox),
    async claim(request) {
      const rows = await outbox.claim(request)
      if (rows.length > 0) at('claimed')
      return rows
    },
    async settle(settlements) {
      const result = await outbox.settle(settlements)
      at('settled')
      return result
    },
  }
  return { ...store, outbox: outboxTrap }
}

function trappedTransport(transport: Transport, at: At): Transport {
  const publish: Transport['publish'] = (...given) =>
    transport.publish(...given).map(async (answer) => {
      const outcome = await answer
      at('confirmed')
      return outcome
    })
  return new Proxy(transport, {
    get(target, name) {
      if (name === 'publish') return publish
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

async function run(plan: Plan): Promise<void> {
  const at: At = (point) => {
    if (point === plan.kill) process.kill(process.pid, 'SIGKILL')
  }
  await using app = appOf(
    trapped(storeOf(plan), at),
    trappedTransport(transportOf(plan), at),
    false,
  )
  process.stdout.write(`${JSON.stringify(await app.drain(plan.bounds))}\n`)
}

if (import.meta.main) await run(JSON.parse(process.env['PLAN'] ?? '') as Plan)
