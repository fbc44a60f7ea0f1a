/**
 * A checkout that a client may repeat. The key, the order, the event and the answer are committed in
 * one transaction, so a repeat has no second effect and gets the same answer.
 *
 * `node examples/idempotent-checkout/main.ts` prints what becomes of some requests.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import { event, Mersal } from '../../src/index.ts' // in your program: 'mersal'
import { idempotency } from '../../src/http.ts' // 'mersal/http'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const OrderPlaced = event<{ order: number; item: string }>('orders.placed')

export interface Shop extends AsyncDisposable {
  readonly url: string
}

/** `POST /checkout` with `{ "item": "..." }` and an `Idempotency-Key`. */
export async function openShop(folder: string): Promise<Shop> {
  const app = new Mersal({
    name: 'shop',
    store: sqlite({ path: `${folder}/shop.db` }),
    transport: sqliteQueue({ path: `${folder}/broker.db` }),
    sendOnly: true,
  })
  await app.start()
  await app.transaction(async (tx) =>
    tx.exec('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL)'),
  )
  const web = express()
  web.use(express.json())
  web.post(
    '/checkout',
    idempotency(app).express(
      async (request: express.Request, tx, { publish }) => {
        const { item } = request.body as { item?: unknown }
        if (typeof item !== 'string')
          return Response.json({ error: 'expected { "item": "..." }' }, { status: 400 })
        const row = tx.prepare('INSERT INTO orders (item) VALUES (?) RETURNING id').get(item)
        const order = Number(row?.['id'])
        await publish(OrderPlaced, { order, item })
        return Response.json({ order }, { status: 201, headers: { location: `/orders/${order}` } })
      },
      { scope: (request) => request.get('authorization') ?? 'guest' },
    ),
  )
  const server = web.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/checkout`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await app.stop()
    },
  }
}

/** Sends one request, and says what came back in one line. */
export async function checkout(
  url: string,
  key: string | undefined,
  item: unknown,
): Promise<string> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, {
    method: 'POST',
    body: JSON.stringify({ item }),
    headers: key === undefined ? headers : { ...headers, 'idempotency-key': `"${key}"` },
  })
  const replayed = response.headers.has('idempotent-replayed') ? ' (replayed)' : ''
  const body = (await response.json()) as { title?: string }
  return `${response.status}${replayed} ${body.title ?? JSON.stringify(body)}`
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  // Somebody wants the event: without a queue for it, the relay would complain, and try again.
  const broker = sqliteQueue({ path: `${folder}/broker.db` })
  await broker.subscribe('mail', [OrderPlaced.name])
  await broker[Symbol.asyncDispose]()
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  const shop = await openShop(folder)
  try {
    say(`first:        ${await checkout(shop.url, 'k-1', 'book')}`)
    say(`again:        ${await checkout(shop.url, 'k-1', 'book')}`)
    say(`other body:   ${await checkout(shop.url, 'k-1', 'lamp')}`)
    say(`other key:    ${await checkout(shop.url, 'k-2', 'book')}`)
    say(`without key:  ${await checkout(shop.url, undefined, 'book')}`)
    const both = await Promise.all([1, 2].map(() => checkout(shop.url, 'k-3', 'pen')))
    say(`two at once:  ${both.toSorted().join(' and ')}`)
  } finally {
    await shop[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
