/**
 * A server of its own that is killed at one point of a request:
 * `node checkout-process.ts '<Plan as JSON>'`. Prints its address.
 */
import { DatabaseSync } from 'node:sqlite'
import express from 'express'
import { Pool } from 'pg'
import { event, Mersal, type Store } from '../../src/index.ts'
import { idempotency } from '../../src/http.ts'
import { postgres, type PostgresClient } from '../../src/postgres.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'

export interface Plan {
  readonly folder: string
  /** Undefined: SQLite. */
  readonly postgres?: { readonly url: string; readonly schema: string }
  readonly kill?: Point
}

/** In the order of the request. */
export const points = ['claimed', 'written', 'sent', 'kept', 'committed'] as const
export type Point = (typeof points)[number]

export const Ordered = event<{ sku: number }>('orders.ordered')

type Handle = DatabaseSync | PostgresClient

async function serve({ folder, postgres: server, kill }: Plan): Promise<void> {
  const at = (point: Point): void => {
    if (point === kill) process.kill(process.pid, 'SIGKILL')
  }
  const store = (server === undefined
    ? sqlite({ path: `${folder}/shop.db` })
    : postgres({
        pool: new Pool({ connectionString: server.url }),
        schema: server.schema,
      })) as unknown as Store<Handle>
  const app = new Mersal<Handle>({
    name: 'shop',
    store: trapped(store, at),
    transport: sqliteQueue({ path: `${folder}/broker.db` }),
    sendOnly: true,
  })
  await app.start()
  const web = express()
  web.use(express.json())
  web.post(
    '/orders',
    idempotency(app).express(async ({ body }, tx, { publish }) => {
      const { sku } = body as { sku: number }
      const order = await insert(tx, sku, server?.schema)
      at('written')
      await publish(Ordered, { sku })
      at('sent')
      return Response.json({ order, by: process.pid }, { status: 201 })
    }),
  )
  const listening = web.listen(0, '127.0.0.1', () => {
    const address = listening.address()
    if (typeof address === 'object' && address !== null) process.stdout.write(`${address.port}\n`)
  })
}

/** `committed`: before anybody is told. */
function trapped(store: Store<Handle>, at: (point: Point) => void): Store<Handle> {
  const { once } = store
  if (once === undefined) throw new Error('the store keeps no responses')
  return {
    ...store,
    unitOfWork: async (work, options) => {
      const result = await store.unitOfWork(work, options)
      at('committed')
      return result
    },
    once: {
      ...once,
      async claim(tx, key, request) {
        const claimed = await once.claim(tx, key, request)
        at('claimed')
        return claimed
      },
      async keep(tx, key, response) {
        await once.keep(tx, key, response)
        at('kept')
      },
    },
  }
}

async function insert(tx: Handle, sku: number, schema: string | undefined): Promise<number> {
  if (tx instanceof DatabaseSync || 'prepare' in tx)
    return Number(
      (tx as DatabaseSync).prepare('INSERT INTO orders (sku) VALUES (?) RETURNING id').get(sku)?.[
        'id'
      ],
    )
  const { rows } = await tx.query(`insert into ${schema}.orders (sku) values ($1) returning id`, [
    sku,
  ])
  return Number((rows as { id: unknown }[])[0]?.id)
}

if (import.meta.main) await serve(JSON.parse(process.argv[2] ?? '') as Plan)
