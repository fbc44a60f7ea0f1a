import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  canary,
  openPrivateBroker,
  type PrivateBroker,
  rabbitIsHere,
} from '../../../rabbitmq/broker.ts'
import { ordeal } from '../../../rabbitmq/outage/run.ts'
import { openShop, type Shop } from '../../../rabbitmq/outage/shop.ts'
import { accepts, openTap, type Tap } from '../../../rabbitmq/outage/tap.ts'

const here = await rabbitIsHere()

describe.skipIf(!here)('the broker goes away while an app writes without a pause', () => {
  const opened = new AsyncDisposableStack()
  let broker: PrivateBroker
  let shop: Shop
  let tap: Tap
  let trial: ReturnType<typeof ordeal>

  beforeAll(async () => {
    broker = opened.use(await openPrivateBroker([], { started: false, user: canary }))
    shop = opened.use(openShop('shop-away', broker.url))
    tap = openTap(broker.url, 'tap', 'mersal.events')
    trial = opened.use(ordeal(shop, tap))
  })
  afterAll(() => opened.disposeAsync())

  /**
   * Starts the broker; the fault ends when it takes connections, which is before its tool says so.
   */
  async function comesBack(): Promise<number> {
    const [, healed] = await Promise.all([
      broker.start(),
      accepts(broker.url).then(() => performance.now()),
    ])
    return healed
  }

  test('the app starts without its broker, warns once, commits, and comes up when the broker does', async () => {
    await trial.run({
      name: 'the broker is not there when the app starts',
      inject: () => shop.app.start(),
      landed: ({ record }) => record.count('unavailable') > 0,
      heal: async () => {
        const healed = await comesBack()
        await tap.bind(['orders.placed'])
        return healed
      },
    })
    expect(
      shop.log.filter(({ text }) => text.includes('the broker cannot be reached')),
    ).toHaveLength(1)
  })

  test('the broker is restarted in good order', async () => {
    await trial.run({
      name: 'restart in good order',
      inject: () => broker.stop(),
      landed: ({ record, since }) => record.count('unavailable', since) > 0,
      heal: comesBack,
    })
  })

  test('the broker is killed', async () => {
    await trial.run({
      name: 'kill -9 and start',
      inject: () => broker.signal('SIGKILL'),
      landed: ({ record, since }) => record.count('unavailable', since) > 0,
      heal: comesBack,
    })
  })

  test('the broker is stopped inside its machine: stop_app and start_app', async () => {
    await trial.run({
      name: '`rabbitmqctl stop_app`, `start_app`',
      inject: () => broker.evaluate('rabbit:stop()'),
      landed: ({ record, since }) => record.count('unavailable', since) > 0,
      heal: async () => {
        const [, healed] = await Promise.all([
          broker.evaluate('rabbit:start()'),
          accepts(broker.url).then(() => performance.now()),
        ])
        return healed
      },
    })
  })

  test('the broker stops answering, with its connections open', async () => {
    await trial.run({
      name: 'half-open: the broker is stopped with SIGSTOP',
      inject: () => broker.signal('SIGSTOP'),
      landed: ({ record, log, since }) =>
        record.count('unknown', since) > 0 && log.includes('was lost'),
      heal: () => broker.signal('SIGCONT'),
    })
  })
})
