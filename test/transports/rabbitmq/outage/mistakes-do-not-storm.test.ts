import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openVhost, rabbitIsHere } from '../../../rabbitmq/broker.ts'
import { openProxy } from '../../../rabbitmq/outage/counting-proxy.ts'
import { openShop } from '../../../rabbitmq/outage/shop.ts'
import { plainly } from '../../../rabbitmq/outage/tap.ts'

const here = await rabbitIsHere()
const BROKER_PORT = 5672
const CANARY = 'pa55/w&rd-of-the-canary'
const WATCHED_MS = 10_000
/** Two connections, each tried at most once a second, one at a time. */
const MOST_TRIES = WATCHED_MS / 1000

describe.skipIf(!here)('a mistake in the address of RabbitMQ', () => {
  const opened = new AsyncDisposableStack()
  const user = `u-${randomUUID()}`
  let place: Awaited<ReturnType<typeof openVhost>>

  beforeAll(async () => {
    place = opened.use(await openVhost())
    await place.ctl('add_user', user, CANARY)
    opened.defer(async () => void (await place.ctl('delete_user', user)))
  })
  afterAll(() => opened.disposeAsync())

  const address = (port: number, name: string, password: string, vhost = place.vhost): string =>
    `amqp://${name}:${encodeURIComponent(password)}@127.0.0.1:${port}/${vhost}`

  function withoutSecret(...things: readonly unknown[]): void {
    const text = inspect(things, { depth: 20, showHidden: true, maxStringLength: null })
    for (const form of [CANARY, encodeURIComponent(CANARY), Buffer.from(CANARY).toString('base64')])
      expect(text).not.toContain(form)
  }

  const refusals: readonly (readonly [string, (port: number) => string, string])[] = [
    ['wrong password', (port) => address(port, 'guest', CANARY), 'ACCESS_REFUSED'],
    ['unknown user', (port) => address(port, 'nobody', CANARY), 'ACCESS_REFUSED'],
    [
      'missing vhost',
      (port) => address(port, 'guest', 'guest', 'no-such-vhost'),
      "the vhost 'no-such-vhost'",
    ],
    ['vhost that the user may not use', (port) => address(port, user, CANARY), 'refused the vhost'],
  ]

  test.each(refusals)(
    'a %s fails the start with a clear error and without the password, after one try',
    async (_, url, expected) => {
      await using proxy = await openProxy(BROKER_PORT)
      await using shop = openShop(`q-${randomUUID()}`, url(proxy.port))
      const caught: unknown = await shop.app.start().catch((error: unknown) => error)
      expect(caught).toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringContaining(expected) as string,
      })
      expect([shop.app.state, proxy.tries.length]).toEqual(['stopped', 1])
      withoutSecret(caught, shop.log, shop.app)
    },
  )

  test('a user without privileges, and a queue with other properties, fail the start', async () => {
    await place.ctl('set_permissions', '-p', place.vhost, user, '^$', '^$', '^$')
    await using powerless = openShop(`q-${randomUUID()}`, address(BROKER_PORT, user, CANARY))
    const denied: unknown = await powerless.app.start().catch((error: unknown) => error)
    expect(denied).toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining('no privilege') as string,
    })
    await using other = openShop(`q-${randomUUID()}`, place.url)
    await plainly(place.url, (channel) =>
      channel.assertQueue(other.app.name, {
        durable: true,
        arguments: { 'x-queue-type': 'classic' },
      }),
    )
    const different: unknown = await other.app.start().catch((error: unknown) => error)
    expect(different).toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining('other properties') as string,
    })
    withoutSecret(denied, powerless.log)
  })

  test('tries do not storm: a broker that hangs up and a password that was changed, at most one try a second', async () => {
    await using dead = await openProxy()
    await using changed = await openProxy(BROKER_PORT)
    await using nobody = openShop(`q-${randomUUID()}`, address(dead.port, 'guest', CANARY))
    // It only sends, so it meets the refusal only when it publishes: nothing fails the start.
    await using locked = openShop(
      `q-${randomUUID()}`,
      address(changed.port, 'guest', CANARY),
      {},
      { sendOnly: true },
    )
    await nobody.app.start()
    await locked.app.start()
    const stops = [nobody, locked].map((shop) => shop.write())
    await pause(WATCHED_MS)
    await Promise.all(stops.map((stop) => stop()))
    process.stdout.write(
      `connections tried in ${WATCHED_MS} ms: hung up ${dead.tries.length}, refused ${changed.tries.length}\n`,
    )
    for (const { tries } of [dead, changed]) {
      expect(tries.length).toBeGreaterThan(2)
      expect(tries.length).toBeLessThanOrEqual(MOST_TRIES + 1)
    }
    // The same thing is said once, and commits went on.
    for (const shop of [nobody, locked]) {
      const loud = shop.log.filter(({ level }) => level === 'warn' || level === 'error')
      expect(loud.length).toBeLessThan(10)
      expect(shop.pending()).toBeGreaterThan(100)
      withoutSecret(shop.log)
    }
    expect(
      locked.log.some(({ level, all }) => level === 'error' && all.includes('ACCESS_REFUSED')),
    ).toBe(true)
  })
})
