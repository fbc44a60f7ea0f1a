import { describe, expect, test } from 'vitest'
import { serverAnswers, serverUrl, testDatabase } from '../postgres/database.ts'
import { pgbouncer, pgbouncerAvailable } from '../postgres/pgbouncer.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'
import { openProject, postgresConfig, type Project, sourceUrl } from './project.ts'
import { message, openBench } from './stores.ts'

const present = { postgres: await serverAnswers(), rabbitmq: await rabbitIsHere() }

interface Finding {
  readonly level: string
  readonly subject: string
  readonly text: string
  readonly remedy?: string
}

async function examine(
  project: Project,
  ...args: readonly string[]
): Promise<{
  code: number | null
  findings: readonly Finding[]
  find: (subject: string) => Finding | undefined
}> {
  const { code, stdout } = await project.mersal(['doctor', '--json', ...args])
  const { findings } = JSON.parse(stdout) as { findings: Finding[] }
  return {
    code,
    findings,
    find: (subject) => findings.find((finding) => finding.subject.startsWith(subject)),
  }
}

describe('mersal doctor on SQLite', { timeout: 240_000 }, () => {
  test('finds everything in order', async () => {
    await using bench = await openBench('sqlite')
    await bench.declare('orders')
    const { code, stdout } = await bench.project.mersal(['doctor'])
    expect(stdout).toContain('0 faults, 0 warnings')
    expect(stdout).toMatch(/^ok +node: v/m)
    expect(code).toBe(0)
  })

  test('finds missing tables and says how to fix it, and creates nothing', async () => {
    await using bench = await openBench('sqlite', { migrated: false })
    const { code, find } = await examine(bench.project)
    expect(code).toBe(3)
    expect(find('sqlite tables of the store')).toMatchObject({
      level: 'fault',
      remedy: "run 'mersal migrate'",
    })
    expect((await examine(bench.project)).find('sqlite file')).toMatchObject({
      level: 'warning',
      text: 'there is no file yet',
    })
  })

  test('finds messages that wait for a transport that the configuration does not have', async () => {
    await using bench = await openBench('sqlite')
    await bench.declare('orders')
    await bench.send(
      message('a', { to: { transport: 'elsewhere', kind: 'queue', name: 'orders' } }),
    )
    const { code, find } = await examine(bench.project)
    expect(code).toBe(3)
    expect(find("transport 'elsewhere'")).toMatchObject({
      level: 'fault',
      remedy: "give it in 'bridges'",
    })
  })

  test('finds a file that is no database', async () => {
    await using bench = await openBench('sqlite', { migrated: false })
    bench.project.write(
      'store.db',
      'this is a text, and much longer than the header of a database file would be',
    )
    const { code, find } = await examine(bench.project)
    expect(code).toBe(3)
    expect(find('sqlite')).toMatchObject({
      level: 'fault',
      text: expect.stringContaining('not an SQLite database') as string,
    })
  })
})

describe.runIf(present.postgres)('mersal doctor on PostgreSQL', { timeout: 240_000 }, () => {
  test('finds everything in order', async () => {
    await using bench = await openBench('postgres')
    await bench.declare('orders')
    const { code, findings } = await examine(bench.project)
    expect(findings.filter(({ level }) => level !== 'ok')).toEqual([])
    expect(findings.map(({ subject }) => subject)).toEqual(
      expect.arrayContaining([
        'node',
        'package pg',
        'postgres version',
        'postgres server',
        'postgres durability',
        'clocks',
        'postgres connections',
        'postgres privileges',
        'pooler',
      ]),
    )
    expect(code).toBe(0)
  })

  test('finds what a role may not do', async () => {
    await using database = await testDatabase()
    const { schema, pool } = database
    const role = `${schema}_weak`
    await using project = openProject(postgresConfig(serverUrl, schema))
    await project.mersal(['migrate'])
    await pool.query(
      `create role ${role} login; grant usage on schema ${schema} to ${role}; grant select on all tables in schema ${schema} to ${role}`,
    )
    try {
      project.write(
        'mersal.config.ts',
        postgresConfig(Object.assign(new URL(serverUrl), { username: role }).href, schema),
      )
      const { code, findings } = await examine(project)
      expect(code).toBe(3)
      const rights = findings.filter(
        ({ subject, level }) => subject === 'postgres privileges' && level === 'fault',
      )
      expect(rights.map(({ text }) => text)).toContain(
        `the role ${role} lacks insert, update, delete on outbox`,
      )
      expect(rights.some(({ text }) => text.includes(' on migration'))).toBe(false)
    } finally {
      await pool.query(`drop owned by ${role}; drop role ${role}`)
    }
  })

  test.runIf(pgbouncerAvailable())('finds a pooler in transaction mode', async () => {
    await using database = await testDatabase()
    await using pooler = await pgbouncer(serverUrl)
    await using project = openProject(postgresConfig(pooler.url, database.schema))
    await project.mersal(['migrate'])
    expect((await examine(project)).find('pooler')).toMatchObject({ level: 'warning' })
  })

  test('says that a server does not answer, and examines the rest', async () => {
    await using project = openProject(postgresConfig('postgres://app@127.0.0.1:1/shop', 'mersal'))
    const { code, find, findings } = await examine(project)
    expect(code).toBe(3)
    expect(find('postgres')).toMatchObject({
      level: 'fault',
      text: expect.stringContaining('ECONNREFUSED') as string,
      remedy: expect.stringContaining('the same error: postgres tables') as string,
    })
    expect(findings.filter(({ text }) => text.includes('ECONNREFUSED'))).toHaveLength(1)
    expect(find('node')).toMatchObject({ level: 'ok' })
  })
})

describe.runIf(present.rabbitmq)('mersal doctor on RabbitMQ', { timeout: 240_000 }, () => {
  const config = (url: string): string => `
import { defineConfig } from '${sourceUrl('cli/index.ts')}'
import { rabbitmq } from '${sourceUrl('rabbitmq.ts')}'
import { sqlite } from '${sourceUrl('sqlite.ts')}'
export default defineConfig({ store: sqlite({ path: 'store.db' }), transport: rabbitmq({ url: '${url}', newQueuePauseMs: 0 }) })`

  test('finds version and topology, makes nothing, and knows the queues for which messages wait', async () => {
    await using place = await openVhost()
    await using bench = await openBench('sqlite')
    bench.project.write('mersal.config.ts', config(place.url))
    await bench.send(message('a', { queue: 'billing' }))
    const before = await examine(bench.project, '--queue', 'shipping')
    expect(before.find('rabbitmq version')).toMatchObject({ level: 'ok' })
    expect(before.find("exchange 'mersal.events'")).toMatchObject({ level: 'warning' })
    for (const name of ['billing', 'billing.dead', 'shipping'])
      expect(before.find(`queue '${name}'`)).toMatchObject({
        level: 'warning',
        text: 'does not exist yet',
      })
    expect(before.code).toBe(0)
    expect(await place.ctl('list_queues', '-p', place.vhost, 'name')).not.toContain('billing')
    const { rabbitmq } = await import('../../src/rabbitmq.ts')
    {
      await using broker = rabbitmq({ url: place.url, newQueuePauseMs: 0 })
      await broker.subscribe('billing', ['orders.placed'])
    }
    const after = await examine(bench.project)
    expect(after.find("queue 'billing'")).toMatchObject({
      level: 'ok',
      text: '0 messages ready, 0 consumers',
    })
    expect(after.findings.filter(({ level }) => level !== 'ok')).toEqual([])
  })

  test('publishes to it, and ends on SIGTERM', async () => {
    await using place = await openVhost()
    await using bench = await openBench('sqlite')
    bench.project.write('mersal.config.ts', config(place.url))
    const { rabbitmq } = await import('../../src/rabbitmq.ts')
    await using broker = rabbitmq({ url: place.url, newQueuePauseMs: 0 })
    await broker.subscribe('billing', [])
    const relay = bench.project.start(['relay', '--no-http'])
    await bench.send(message('a', { queue: 'billing' }), message('b', { queue: 'billing' }))
    while ((await bench.store.admin.stats()).pending > 0)
      await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await relay.signal('SIGTERM')).code).toBe(0)
    const bodies: string[] = []
    const both = Promise.withResolvers<void>()
    await using consumer = await broker.consume(
      { queue: 'billing', concurrency: 1 },
      async ({ message: { body } }) => {
        if (bodies.push(Buffer.from(body).toString()) === 2) both.resolve()
        return { kind: 'ack' }
      },
    )
    await both.promise
    void consumer
    expect(bodies.toSorted()).toEqual(['a', 'b'])
  })

  test('says that the password is refused, without saying it', async () => {
    await using bench = await openBench('sqlite')
    bench.project.write('mersal.config.ts', config('amqp://guest:nobodyknows@127.0.0.1:5672/'))
    const { code, find, findings } = await examine(bench.project)
    expect(code).toBe(3)
    expect(find("transport 'default' (rabbitmq)")).toMatchObject({ level: 'fault' })
    expect(JSON.stringify(findings)).not.toContain('nobodyknows')
  })
})
