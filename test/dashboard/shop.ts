import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { silentLogger } from '../../src/core/telemetry.ts'
import { dashboard, type DashboardOptions } from '../../src/dashboard/index.ts'
import { command, event, Mersal, saga } from '../../src/index.ts'
import { postgres } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { openVhost } from '../../scripts/servers/vhost.ts'
import { openProxy } from '../chaos/proxy.ts'
import { serverUrl, testDatabase } from '../postgres/database.ts'

/** Runs if it is taken for HTML, colours a terminal, and turns the text behind it around. */
export const nasty =
  '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\u001b[31mred\u202Etxet'

const Place = command<{ orderId: string; note?: string }>('orders.place')
const Placed = event<{ orderId: string; note?: string }>('orders.placed')
const Export = command<{ n: number; note: string }>('orders.export')
const Bill = command<{ orderId: string }>('billing.bill')
const Refund = command<{ orderId: string }>('billing.refund')
const Order = saga<{ note: string }>('order')

export const TOKEN = 'a-token-of-the-pages'

/** No try waits long. */
const receive = { immediateRetries: 0, maxDeliveries: 1 }
const outbox = {
  relay: { maxAttempts: 1, breaker: { firstMs: 500, longestMs: 1000 }, pollIntervalMs: 200 },
}

export interface Listening extends AsyncDisposable {
  readonly address: string
}

export async function listen(listener: RequestListener): Promise<Listening> {
  const server: Server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/**
 * A shop and its bookkeeping on PostgreSQL and RabbitMQ, with something on each page: dead letters
 * of both directions, a key that is held back, a saga. Between them and their servers are proxies.
 */
export async function openShop(options: Partial<DashboardOptions> = {}) {
  await using stack = new AsyncDisposableStack()
  const vhost = stack.use(await openVhost())
  const tables = { shop: await testDatabase(), billing: await testDatabase() }
  for (const one of Object.values(tables)) stack.use(one)
  const postgresPort = Number(new URL(serverUrl).port || 5432)
  const servers = {
    postgres: stack.use(await openProxy(postgresPort)),
    rabbitmq: stack.use(await openProxy(5672)),
  }
  const brokerUrl = Object.assign(new URL(vhost.url), { port: String(servers.rabbitmq.port) })
  const storeUrl = Object.assign(new URL(serverUrl), { port: String(servers.postgres.port) })
  const make = (name: keyof typeof tables) => {
    const pool = tables[name].newPool({ connectionString: storeUrl.href })
    return new Mersal({
      name,
      store: postgres({ pool, schema: tables[name].schema, logger: silentLogger }),
      transport: rabbitmq({ url: brokerUrl.href, logger: false }),
      routes: {
        'orders.place': 'shop',
        'orders.export': 'nowhere',
        'billing.bill': 'billing',
        'billing.refund': 'billing',
      },
      logger: false,
      receive,
      outbox,
    })
  }
  const [shop, billing] = [make('shop'), make('billing')]
  shop.handle(Export, () => {})
  shop.saga(Order, (on) => {
    on.start(
      Place,
      ({ orderId }) => orderId,
      async (_, { orderId, note = '' }, { publish, timeout }) => {
        timeout('unpaid', { days: 14 })
        await publish(Placed, { orderId, note })
        return { note }
      },
    )
    on.timeout('unpaid', (state) => state)
  })
  billing.handle(Placed, async ({ orderId }, { send }) => {
    await send(Bill, { orderId })
  })
  billing.handle(Bill, () => {})
  billing.handle(Refund, ({ orderId }) => {
    throw new Error(`no refund for ${orderId}: ${nasty}`, { cause: new Error('the bank is shut') })
  })
  const ui = stack.use(
    dashboard({
      apps: [shop, billing],
      token: TOKEN,
      allow: ['retry', 'discard', 'pause', 'bodies'],
      logger: false,
      ...options,
    }),
  )
  const web = stack.use(await listen((request, response) => void ui.node(request, response)))
  const leave = stack.move()
  return {
    shop,
    billing,
    tables,
    servers,
    postgresPort,
    /** With the token, as the command line prints it. */
    link: `${web.address}/#token=${TOKEN}`,
    address: web.address,
    async [Symbol.asyncDispose]() {
      await Promise.all([shop.stop(), billing.stop()])
      await leave[Symbol.asyncDispose]()
    },
  }
}

export type Shop = Awaited<ReturnType<typeof openShop>>

/** Orders, exports to a queue that does not exist, and refunds that fail. Returns ids of orders. */
export async function trade({ shop, billing }: Shop): Promise<readonly string[]> {
  await Promise.all([shop.start(), billing.start()])
  const orders = await shop.transaction(async (_, { send }) => {
    const ids: string[] = []
    for (const n of [1, 2, 3]) ids.push(await send(Place, { orderId: `order-${n}`, note: nasty }))
    for (const n of [1, 2, 3]) await send(Export, { n, note: nasty })
    await send(Export, { n: 4, note: nasty }, { partitionKey: 'customer-7' })
    for (const n of [1, 2]) await send(Refund, { orderId: `order-${n}` })
    return ids
  })
  // Those behind it are held back.
  await shop.transaction(async (_, { send }) =>
    send(Export, { n: 5, note: 'behind' }, { partitionKey: 'customer-7' }),
  )
  return orders
}

/** One order more. */
export async function order({ shop }: Shop, orderId: string): Promise<void> {
  await shop.transaction(async (_, { send }) => send(Place, { orderId }))
}
