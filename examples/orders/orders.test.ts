import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rabbitIsHere, serverAnswers, serverUrl } from '../../scripts/servers/given.ts'
import type { Place } from '../../scripts/servers/rabbitmq.ts'
import { openVhost } from '../../scripts/servers/vhost.ts'
import { type Service, startService } from './run-service.ts'

const here = (await serverAnswers()) && (await rabbitIsHere())
const ORDERS = 80
const CUSTOMERS = ['Ada', 'Zoë', 'محمد']

interface Answer {
  readonly status: number
  readonly orderId: string
}

describe.skipIf(!here)('the services of the orders example', { timeout: 240_000 }, () => {
  const prefix = `mersal_orders_${randomBytes(4).toString('hex')}`
  const running: Service[] = []
  let server: Client
  let vhost: Place & AsyncDisposable
  let model: ChannelModel
  let broker: ConfirmChannel

  const urlOf = (service: string): string => {
    const url = new URL(serverUrl)
    url.pathname = `/${prefix}_${service}`
    return url.href
  }

  beforeAll(async () => {
    vhost = await openVhost()
    model = await connect(vhost.url)
    broker = await model.createConfirmChannel()
    server = new Client({ connectionString: serverUrl })
    await server.connect()
    for (const service of ['shop', 'billing', 'shipping'])
      await server.query(`CREATE DATABASE ${prefix}_${service}`)
  })

  afterAll(async () => {
    for (const service of running) await service.kill()
    for (const service of ['shop', 'billing', 'shipping'])
      await server.query(`DROP DATABASE IF EXISTS ${prefix}_${service} WITH (FORCE)`)
    await server.end()
    await model.close()
    await vhost[Symbol.asyncDispose]()
  })

  async function start(name: 'shop' | 'billing' | 'shipping' | 'relay'): Promise<Service> {
    const DATABASE_URL = urlOf(name === 'relay' ? 'shop' : name)
    const service = await startService(name, { DATABASE_URL, AMQP_URL: vhost.url, PORT: '0' })
    running.push(service)
    return service
  }

  async function read<Row extends object>(database: string, query: string): Promise<Row[]> {
    const client = new Client({ connectionString: urlOf(database) })
    await client.connect()
    try {
      return (await client.query<Row>(query)).rows
    } finally {
      await client.end()
    }
  }

  const idsIn = async (database: string, table: string): Promise<string[]> =>
    (await read<{ id: string }>(database, `SELECT order_id AS id FROM ${table}`))
      .map(({ id }) => id)
      .toSorted()

  async function order(url: string, index: number): Promise<Answer> {
    // There are five of saffron, so most of those orders are refused.
    const body = {
      customer: CUSTOMERS[index % CUSTOMERS.length],
      item: index % 5 === 0 ? 'saffron' : 'tea',
      quantity: 1,
    }
    const response = await fetch(`${url}/orders`, { method: 'POST', body: JSON.stringify(body) })
    const { orderId = '' } = (await response.json()) as { orderId?: string }
    return { status: response.status, orderId }
  }

  const depth = async (queue: string): Promise<number> =>
    (await broker.checkQueue(queue)).messageCount

  /**
   * Every event once more, under its own id, to both services: a broker may do that at any time.
   */
  async function sendAgain(): Promise<void> {
    for (let copy = await broker.get('copies'); copy !== false; copy = await broker.get('copies')) {
      for (const queue of ['billing', 'shipping'])
        broker.sendToQueue(queue, copy.content, copy.properties)
      broker.ack(copy)
    }
    await broker.waitForConfirms()
  }

  /** Places these orders over HTTP, five at a time. */
  async function placeOrders(url: string, from: number, to: number): Promise<Answer[]> {
    const answers: Answer[] = []
    for (let index = from; index < to; index += 5) {
      answers.push(...(await Promise.all([0, 1, 2, 3, 4].map((step) => order(url, index + step)))))
    }
    return answers
  }

  /** Kills billing in the middle of handlers: they wait for a lock at that moment. */
  async function killInHandlers(
    billing: Service,
    meanwhile: () => Promise<unknown>,
  ): Promise<void> {
    const locker = new Client({ connectionString: urlOf('billing') })
    await locker.connect()
    try {
      await locker.query('BEGIN')
      await locker.query('LOCK TABLE invoices IN SHARE ROW EXCLUSIVE MODE')
      await meanwhile()
      const blocked =
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
      while ((await read('billing', blocked)).length === 0) await pause(20)
      await billing.kill()
    } finally {
      await locker.end()
    }
  }

  test('bill and ship every accepted order once and no refused one, though billing is killed and every event comes twice', async () => {
    // The subscribers first: a queue gets the events that come after it was made.
    const [shipping, billing] = await Promise.all([start('shipping'), start('billing')])
    await broker.assertQueue('copies')
    await broker.bindQueue('copies', 'mersal.events', 'orders.placed')
    const [relay, shop] = await Promise.all([start('relay'), start('shop')])
    const url = shop.said(/(http:\S+)/)

    const answers = await placeOrders(url, 0, ORDERS / 2)
    while ((await idsIn('billing', 'invoices')).length === 0) await pause(20)
    await killInHandlers(billing, async () =>
      answers.push(...(await placeOrders(url, ORDERS / 2, ORDERS))),
    )
    const billingAgain = await start('billing')

    const accepted = answers.filter(({ status }) => status === 201).map(({ orderId }) => orderId)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(ORDERS / 5 - 5)
    expect(accepted).toHaveLength(ORDERS - ORDERS / 5 + 5)
    expect(await read('shop', 'SELECT id FROM orders')).toHaveLength(accepted.length)

    const missing = async (): Promise<number> => {
      const done = [
        new Set(await idsIn('billing', 'invoices')),
        new Set(await idsIn('shipping', 'parcels')),
      ]
      return accepted.filter((id) => !done.every((ids) => ids.has(id))).length
    }
    while ((await missing()) > 0) await pause(50)

    await sendAgain()
    while ((await depth('billing')) + (await depth('shipping')) > 0) await pause(50)
    // What a service has in hand, it finishes.
    for (const service of [shop, relay, shipping, billingAgain])
      expect(await service.stop(), service.name).toBe(0)

    expect(await idsIn('billing', 'invoices')).toEqual(accepted.toSorted())
    expect(await idsIn('shipping', 'parcels')).toEqual(accepted.toSorted())
    expect(await read('shop', 'SELECT id FROM mersal.outbox')).toEqual([])
    expect((await depth('billing.dead')) + (await depth('shipping.dead'))).toBe(0)
  })

  test('answer 400, 404 and 409 without leaving anything behind', async () => {
    const shop = await start('shop')
    const url = shop.said(/(http:\S+)/)
    const post = async (body: string): Promise<number> =>
      (await fetch(`${url}/orders`, { method: 'POST', body })).status
    const before = await read('shop', 'SELECT count(*) FROM orders')

    expect(await post('no JSON')).toBe(400)
    expect(await post('{"customer": "Ada", "item": "tea", "quantity": 0.5}')).toBe(400)
    expect(await post('{"customer": "Ada", "item": "unobtainium", "quantity": 1}')).toBe(409)
    expect((await fetch(`${url}/orders/00000000-0000-4000-8000-000000000000`)).status).toBe(404)
    expect((await fetch(`${url}/health`)).status).toBe(200)

    expect(await shop.stop()).toBe(0)
    expect(await read('shop', 'SELECT count(*) FROM orders')).toEqual(before)
    expect(await read('shop', 'SELECT id FROM mersal.outbox')).toEqual([])
  })
})
