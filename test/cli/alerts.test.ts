import { describe, expect, test } from 'vitest'
import type { OutboxOverview, Transport } from '../../src/index.ts'
import { postgresQueue } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { serverAnswers, serverUrl, testDatabase } from '../postgres/database.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'
import { sourceUrl, sqliteConfig } from './project.ts'
import { type Bench, type Kind, message, openBench } from './stores.ts'

const postgresIsHere = await serverAnswers()
const kinds: readonly Kind[] = postgresIsHere ? ['sqlite', 'postgres'] : ['sqlite']
const DAY = 86_400_000

const until = async (look: () => Promise<boolean>): Promise<void> => {
  while (!(await look())) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe.each(kinds)('what an alert looks at, on %s', { timeout: 240_000 }, (kind) => {
  const overview = ({ store }: Bench): Promise<OutboxOverview> =>
    store.operations!.overview!({ keys: 10 })

  test('is not behind because of messages that are delayed, paused, blocked, or wait for an earlier one of their key', async () => {
    await using bench = await openBench(kind)
    const { pauses } = bench.store.operations!
    await bench.send(message('dead', { partitionKey: 'blocked' }))
    await bench.kill({ onDead: 'block-key' })
    await pauses!.pause({ kind: 'destination', name: 'default/queue/paused' }, '')
    await pauses!.pause({ kind: 'key', name: 'paused' }, '')
    await bench.send(
      message('a', { delayMs: DAY }),
      message('b', { delayMs: DAY, partitionKey: 'later' }),
      message('c', { partitionKey: 'later' }),
      message('d', { partitionKey: 'blocked' }),
      message('e', { partitionKey: 'paused' }),
      message('f', { queue: 'paused' }),
    )
    await until(async () => (await overview(bench)).oldestDueMs > 0)
    const before = await overview(bench)
    expect(before).toMatchObject({ waitingMs: 0, refused: 0, due: 4 })
    expect(before.oldestMs).toBeGreaterThan(0)
    await pauses!.resume({ kind: 'destination', name: 'default/queue/paused' })
    const after = await overview(bench)
    expect(after.waitingMs).toBeGreaterThan(0)
    expect(
      after.destinations.find(({ destination }) => destination.endsWith('/paused'))?.waitingMs,
    ).toBeGreaterThan(0)
    expect(
      after.destinations.find(({ destination }) => destination.endsWith('/orders'))?.waitingMs,
    ).toBe(0)
  })

  test('tells of refused messages, dead letters and blocked keys, and doctor calls what is held up a fault', async () => {
    await using bench = await openBench(kind)
    await bench.send(
      message('a', { queue: 'nobody' }),
      message('b', { partitionKey: 'k', queue: 'gone' }),
      message('c', { queue: 'gone' }),
    )
    const rows = await bench.store.outbox.claim({
      limit: 10,
      claimMs: 60_000,
      token: 'b5f3bd3f-8b1d-4f5c-9d3e-7a2f1c0d9e8b',
    })
    const error = new Error('no queue takes it')
    await bench.store.outbox.settle(
      rows.map(({ position, token, message: { to } }) =>
        to.name === 'nobody'
          ? { kind: 'retry', position, token, delayMs: 60_000, error }
          : {
              kind: 'dead',
              position,
              token,
              reason: 'unroutable',
              error,
              onDead: 'block-key',
              maybePublished: false,
            },
      ),
    )
    await bench.send(message('d', { partitionKey: 'k', queue: 'gone' }))
    expect(await overview(bench)).toMatchObject({ refused: 1 })
    expect((await bench.project.mersal(['status', '--quick'])).stdout).toContain(
      'refused so far 1), dead 2',
    )
    const { code, stdout } = await bench.project.mersal(['doctor'])
    expect(code).toBe(3)
    expect(stdout).toMatch(/FAULT +destination default\/queue\/nobody: 1 message refused so far/)
    if (kind === 'postgres') expect(stdout).toContain('refused so far: Error: no queue takes it')
    expect(stdout).toMatch(
      /WARNING +destination default\/queue\/gone: 2 dead letters\n +→ .*mersal dead list --destination default\/queue\/gone/,
    )
    expect(stdout).toMatch(
      /FAULT +key k: a dead letter holds it back, and 1 message waits behind it/,
    )
    expect(stdout).toMatch(/\d faults, \d+ warnings?\n$/)
  })
})

interface Place extends AsyncDisposable {
  readonly line: string
  readonly head: string
  readonly transport: Transport
}

const places: Readonly<Record<string, (folder: Bench['project']) => Promise<Place>>> = {
  sqlite: async (project) => {
    const transport = sqliteQueue({ path: project.file('queue.db') })
    return Promise.resolve({
      line: `sqliteQueue({ path: 'queue.db' })`,
      head: '',
      transport,
      [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
    })
  },
  ...(postgresIsHere
    ? {
        postgres: async () => {
          const { pool, schema, ...database } = await testDatabase()
          const transport = postgresQueue({ pool, schema })
          return {
            head: `import { Pool } from 'pg'\nimport { postgresQueue } from '${sourceUrl('postgres.ts')}'\nconst pool = new Pool({ connectionString: '${serverUrl}' })`,
            line: `postgresQueue({ pool, schema: '${schema}' })`,
            transport,
            [Symbol.asyncDispose]: async () => {
              await transport[Symbol.asyncDispose]()
              await database[Symbol.asyncDispose]()
            },
          }
        },
      }
    : {}),
  ...((await rabbitIsHere())
    ? {
        rabbitmq: async () => {
          const vhost = await openVhost()
          const transport = rabbitmq({ url: vhost.url, newQueuePauseMs: 0 })
          return {
            head: `import { rabbitmq } from '${sourceUrl('rabbitmq.ts')}'`,
            line: `rabbitmq({ url: '${vhost.url}', newQueuePauseMs: 0 })`,
            transport,
            [Symbol.asyncDispose]: async () => {
              await transport[Symbol.asyncDispose]()
              await vhost[Symbol.asyncDispose]()
            },
          }
        },
      }
    : {}),
}

describe.each(Object.keys(places))(
  'dead letters of consumers on %s',
  { timeout: 240_000 },
  (name) => {
    test('are counted by status, metrics, doctor and dead queues, each with the name of its queue', async () => {
      await using bench = await openBench('sqlite')
      await using place = await places[name]!(bench.project)
      const { transport } = place
      await transport.subscribe('billing', [])
      await transport.subscribe('idle', [])
      let given = 0
      {
        await using consumer = await transport.consume(
          { queue: 'billing', concurrency: 1 },
          async () => {
            given++
            return await Promise.resolve({
              kind: 'reject',
              reason: 'rejected',
              error: new Error('unwanted'),
            })
          },
        )
        await Promise.all(
          transport.publish([
            message('a', { queue: 'billing' }),
            message('b', { queue: 'billing' }),
            message('c', { queue: 'idle' }),
          ]),
        )
        await until(async () => Promise.resolve(given === 2))
        void consumer
      }
      bench.project.write(
        'mersal.config.ts',
        `${place.head}\n${sqliteConfig('', `queues: ['billing', 'idle', 'not-there'],`).replace(/transport: .*/, `transport: ${place.line},`)}`,
      )
      const { mersal, start } = bench.project
      const status = await mersal(['status', '--json', '--quick'])
      expect(JSON.parse(status.stdout)).toMatchObject({
        dead: 0,
        incoming: {
          dead: 2,
          queues: [{ transport: 'default', queue: 'billing', dead: 2 }],
          problems: [],
        },
      })
      expect((await mersal(['status', '--quick'])).stdout).toContain(
        "dead letters of consumers 2: billing 2 ('mersal dead list --queue billing')",
      )
      expect((await mersal(['dead', 'queues'])).stdout).toMatch(/default +billing +2 +0 +/)
      const doctor = await mersal(['doctor'])
      expect(doctor.stdout).toMatch(
        /WARNING +queue 'billing' of transport 'default': 2 dead letters of consumers\n +→ .*mersal dead list --queue billing/,
      )
      if (name === 'rabbitmq')
        expect(doctor.stdout).toMatch(
          /WARNING +queue 'idle' of transport 'default': nobody reads it, and 1 message waits in it/,
        )
      const relay = start(['relay', '--port', '0'])
      const address = (await relay.says(/(http:\/\/[\d.:]+)\/metrics/))[1]!
      await until(async () =>
        (await (await fetch(`${address}/metrics`)).text()).includes(
          'mersal_queue_dead{transport="default",queue="billing"} 2',
        ),
      )
      expect((await relay.signal('SIGTERM')).code).toBe(0)
      expect((await mersal(['dead', 'list', '--queue', 'biling'])).stderr).toContain(
        "did you mean 'billing'?",
      )
    })
  },
)

test.runIf(await rabbitIsHere())(
  'a queue of an app is found by the inbox, without being named',
  { timeout: 240_000 },
  async () => {
    await using bench = await openBench('sqlite')
    await using place = await places['rabbitmq']!(bench.project)
    await place.transport.subscribe('shop', [])
    await bench.store.unitOfWork(
      async (tx) =>
        void (await bench.store.tracker.track(tx, { consumer: 'shop', messageId: '1' })),
    )
    bench.project.write(
      'mersal.config.ts',
      `${place.head}\n${sqliteConfig().replace(/transport: .*/, `transport: ${place.line},`)}`,
    )
    const { stdout } = await bench.project.mersal(['dead', 'queues'])
    expect(stdout).toBe(
      "no dead letters of consumers in 1 queue (shop); a broker here cannot list its queues: name others in 'queues' of the configuration, or in MERSAL_QUEUES\n",
    )
  },
)
