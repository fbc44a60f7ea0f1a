import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { event, type IncomingStep } from '../../../../src/index.ts'
import { canary, openPrivateBroker, rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { ordersTo } from '../../../rabbitmq/broker-orders.ts'
import { makesTable } from '../../../rabbitmq/outage/fault-table.ts'
import { ordeal } from '../../../rabbitmq/outage/run.ts'
import { Book, Noted, openShop, Placed, type Shop } from '../../../rabbitmq/outage/shop.ts'
import { drainQueue, openTap, plainly, type Tap } from '../../../rabbitmq/outage/tap.ts'

const here = await rabbitIsHere()
const EXCHANGE = 'mersal.events'
const VHOST = 'shop'
const BROKER_LIMIT = 100_000
const HANDLER_LIMIT_MS = 1500
const Large = event<{ readonly text: string }>('orders.large')

describe.skipIf(!here)('the broker says no while an app writes without a pause', () => {
  const opened = new AsyncDisposableStack()
  let orders: ReturnType<typeof ordersTo>
  let url: string
  let shop: Shop
  let tap: Tap
  let trial: ReturnType<typeof ordeal>
  /** How long the handling of the next delivery takes; once. */
  let slowness = 0

  beforeAll(async () => {
    const broker = opened.use(
      await openPrivateBroker(
        [`max_message_size = ${BROKER_LIMIT}`, `consumer_timeout = ${HANDLER_LIMIT_MS}`],
        { user: canary },
      ),
    )
    orders = ordersTo(broker)
    // RabbitMQ looks once a minute for handlers that take too long; no line of its configuration
    // changes that.
    await broker.evaluate('application:set_env(rabbit, channel_tick_interval, 300)')
    await makeVhost()
    url = `${broker.url}${VHOST}`
    const slow: IncomingStep = {
      name: 'slow',
      async run(_, next) {
        const ms = slowness
        slowness = 0
        await pause(ms)
        return next()
      },
    }
    // A queue of this broker may be used at once, as nobody kills it. And the pauses of a breaker
    // double, to half a minute: what took long would take far longer on a busy machine.
    const quick = { outbox: { relay: { breaker: { firstMs: 200, longestMs: 1000 } } } }
    const [transport, more] = makesTable ? [{}, {}] : [{ newQueuePauseMs: 0 }, quick]
    shop = opened.use(openShop('shop-no', url, transport, { incoming: [slow], ...more }))
    tap = openTap(url, 'tap', EXCHANGE)
    await shop.app.start()
    await tap.bind([Placed.name])
    trial = opened.use(ordeal(shop, tap))
  })
  afterAll(() => opened.disposeAsync())

  async function makeVhost(): Promise<void> {
    await orders.addVhost(VHOST)
    await permit('.*')
  }

  const permit = (pattern: string): Promise<string> => orders.permit(canary.name, VHOST, pattern)

  /** The fault ends at the latest some milliseconds later. */
  async function endsWith(heal: () => Promise<unknown>): Promise<number> {
    const began = performance.now()
    await heal()
    return began
  }

  test.each(['memory', 'disk'] as const)(
    '%s alarm: publishing pauses, commits go on',
    async (what) => {
      const alarm = (on: boolean) => orders[`${what}Alarm`](on)
      await trial.run({
        name: `${what} alarm`,
        inject: () => alarm(true),
        landed: ({ record, log, since }) =>
          log.includes('has an alarm') && record.count('unavailable', since) > 0,
        heal: () => endsWith(() => alarm(false)),
      })
    },
    60_000,
  )

  test('an operator closes the connections', async () => {
    await trial.run({
      name: 'an operator closes the connections',
      inject: () => orders.closeConnections('maintenance'),
      landed: ({ log }) => log.includes('was lost') && log.includes('maintenance'),
    })
  })

  test('the input queue is deleted', async () => {
    await trial.run({
      name: 'input queue deleted',
      wipes: true,
      inject: () => plainly(url, (channel) => channel.deleteQueue(shop.app.name)),
      landed: ({ log }) => log.includes('lost the hold on a queue'),
    })
  })

  test('the events exchange is deleted', async () => {
    await trial.run({
      name: 'events exchange deleted, with all bindings',
      inject: () => plainly(url, (channel) => channel.deleteExchange(EXCHANGE)),
      landed: ({ record, since }) => record.count('unknown', since) > 0,
      // The binding of the other subscriber is its own business.
      heal: () => endsWith(() => tap.bind([Placed.name])),
    })
  })

  test('a binding of the app is deleted', async () => {
    await trial.run({
      name: 'binding of the app deleted',
      inject: () =>
        plainly(url, (channel) => channel.unbindQueue(shop.app.name, EXCHANGE, Noted.name)),
      landed: ({ record, since }) =>
        record.all.some(
          (each) =>
            each.to.endsWith(Noted.name) && each.outcome === 'unavailable' && each.at > since,
        ),
    })
  })

  test('the vhost is deleted and made again', async () => {
    await trial.run({
      name: 'vhost deleted, and made again',
      wipes: true,
      inject: () => orders.deleteVhost(VHOST),
      landed: ({ log }) =>
        log.includes(`error RabbitMQ refuses the connection`) &&
        log.includes(`the vhost '${VHOST}'`),
      heal: async () => {
        await makeVhost()
        await tap.bind([Placed.name])
      },
    })
  })

  test('all permissions are taken away', async () => {
    await trial.run({
      name: 'permissions taken away',
      inject: async () => {
        await permit('^$')
        // RabbitMQ keeps what it has found out about permissions as long as a channel lives.
        await orders.closeConnections('new permissions')
      },
      // Each further answer takes a probe, and the pauses between probes double.
      landed: ({ record, log, since }) =>
        log.includes('no privilege') &&
        record.count('unavailable', since) + record.count('unknown', since) > 3,
      heal: () => endsWith(() => permit('.*')),
    })
  })

  test('the input queue is replaced by one with other properties: 406', async () => {
    await trial.run({
      name: 'input queue replaced by another kind (406), then given back',
      wipes: true,
      inject: () =>
        plainly(url, async (channel) => {
          await channel.deleteQueue(shop.app.name)
          await channel.assertQueue(shop.app.name, {
            durable: true,
            arguments: { 'x-queue-type': 'classic' },
          })
        }),
      landed: ({ log }) => log.includes('exists with other properties'),
      heal: async () => {
        // As a careful operator does it: what came into the wrong queue goes into the right one.
        const kept = await drainQueue(url, shop.app.name)
        await plainly(url, (channel) => channel.deleteQueue(shop.app.name))
        await expect
          .poll(
            () =>
              plainly(url, (channel) => channel.checkQueue(shop.app.name)).catch(() => undefined),
            { timeout: 10_000 },
          )
          .toBeDefined()
        await plainly(url, async (channel) => {
          for (const { content, properties } of kept)
            channel.sendToQueue(shop.app.name, content, properties)
        })
      },
    })
  })

  test('a handler takes longer than consumer_timeout: it happens once, and the consumer goes on', async () => {
    await trial.run({
      name: 'a handler outlasts `consumer_timeout`',
      inject: () => {
        slowness = 2 * HANDLER_LIMIT_MS
        return Promise.resolve()
      },
      landed: ({ log }) => log.includes('lost the hold on a queue') && log.includes('timed out'),
    })
  })

  test('a full queue of a subscriber refuses (nack), and batch mates for others are unharmed', async () => {
    let mates = 0
    await trial.run({
      name: 'a full queue refuses (`reject-publish`)',
      inject: () => orders.limitQueues(VHOST, '^tap$', 1),
      landed: ({ record, since }) => {
        const others = record.all.filter(
          (each) => each.at > since && !each.to.endsWith(Placed.name),
        )
        mates = others.filter((each) => each.outcome === 'confirmed').length
        expect(others.filter((each) => each.outcome === 'refused')).toEqual([])
        return record.count('refused', since) > 3 && mates > 10
      },
      heal: () => endsWith(() => orders.unlimitQueues(VHOST)),
    })
  })

  test('single messages that can never be sent become dead letters with a reason, and their batch mates are sent', async () => {
    const text = 'x'.repeat(BROKER_LIMIT)
    const longKey = { transport: 'default', kind: 'queue', name: 'k'.repeat(256) } as const
    await trial.run({
      name: 'one message above the limit of the broker, one with a routing key of 256 bytes',
      inject: () =>
        shop.app.transaction(async (tx, { publish }) => {
          await publish(Large, { text })
          await shop.store.outbox.save(tx, [
            { id: 'long-key', type: Book.name, headers: {}, body: Buffer.from('{}'), to: longKey },
          ])
        }),
      landed: () => shop.deadLetters() === 2,
      dead: 2,
      afterwards: async () => {
        const letters = await shop.store.admin.deadLetters.list()
        const large = letters.find(({ type }) => type === Large.name)
        const long = letters.find(({ id }) => id === 'long-key')
        expect(large).toMatchObject({
          reason: 'too-large',
          error: expect.stringContaining(`the limit is ${BROKER_LIMIT}`) as string,
        })
        expect(JSON.parse(Buffer.from(large!.body).toString())).toEqual({ text })
        // The claim sees it, before the broker could.
        expect(long).toMatchObject({
          reason: 'malformed',
          error: expect.stringContaining('name: must have 1 to 255 bytes') as string,
        })
        expect(JSON.stringify(letters)).not.toContain(canary.password)
        await shop.store.admin.deadLetters.discard(letters.map(({ key }) => key))
      },
    })
  })
})
