/** The programs of the pages for beginners, as they stand there, on real servers. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { launch, type Running } from '../../cli/project.ts'
import { examplesOf, onSources } from '../../house/examples.ts'
import { root } from '../../house/sources.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { ownDatabase } from '../../postgres/own-database.ts'
import { openVhost, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'
import { freePort } from '../../../scripts/servers/postgres.ts'
import { sqliteQueue } from '../../../src/sqlite.ts'

const here = (await serverAnswers()) && (await rabbitIsHere())
type Env = Readonly<Record<string, string>>

/** A folder in which programs of the pages run on the sources. */
function openFolder() {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tmp/start-'))
  symlinkSync(join(root, 'test/postgres/prisma/generated'), join(folder, 'generated'))
  const running = new Set<Running>()
  return {
    path: folder,
    write: (name: string, code: string) =>
      writeFileSync(join(folder, name), onSources(code, folder)),
    run: (name: string, env: Env = {}, args: readonly string[] = []): Running => {
      const program = launch(folder, [name, ...args], env)
      running.add(program)
      return program
    },
    [Symbol.asyncDispose]: async () => {
      for (const { signal } of running) await signal('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Looks until it is so. The test's own timeout ends it. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(20)
}

async function rowsOf(url: string, query: string): Promise<readonly unknown[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query({ text: query, rowMode: 'array' })).rows
  } finally {
    await client.end()
  }
}

describe('the page for the code that you have', () => {
  const programs = examplesOf('docs/start-your-library.md').filter(({ code }) =>
    code.includes('app.drain()'),
  )

  test('has a program for each library', () => {
    expect(programs.length).toBe(8)
  })

  test.skipIf(!here).for(programs.map(({ code }) => ({ code, from: clientOf(code) })))(
    'has a program with $from that places one order and tells of it',
    { timeout: 240_000 },
    async ({ code }) => {
      await using database = await ownDatabase()
      await using place = await openVhost()
      await using broker = await plainClient(place.url)
      await using folder = openFolder()
      await rowsOf(database.url, 'create table orders (id serial primary key, cents int not null)')
      await broker.channel.assertExchange('mersal.events', 'topic', { durable: true })
      await broker.channel.assertQueue('listener')
      await broker.channel.bindQueue('listener', 'mersal.events', 'orders.placed')
      folder.write('place-order.ts', code)
      const env = { SHOP_URL: database.url, AMQP_URL: place.url }
      expect(await folder.run('place-order.ts', env).ended).toEqual({
        code: 0,
        stdout: '',
        stderr: '',
      })
      const [message, ...more] = await broker.drain('listener')
      expect(JSON.parse(message?.content.toString() ?? 'null')).toEqual({ orderId: 1, cents: 1200 })
      expect(more).toEqual([])
      expect(await rowsOf(database.url, 'select id, cents from orders')).toEqual([[1, 1200]])
    },
  )
})

/** The library of a program: what it makes the session of, or the bare client. */
function clientOf(code: string): string {
  return (
    /from 'mersal\/(?<name>[\w-]+)'/.exec(code.replace(/'mersal\/(?:postgres|rabbitmq)'/g, ''))
      ?.groups?.['name'] ?? 'pg'
  )
}

/** Resolves when the mailer of the page has made its queue and subscribed it. */
async function subscribed(path: string): Promise<void> {
  const queue = sqliteQueue({ path })
  await until(async () => ((await queue.topicsOf?.('mail')) ?? []).length > 0)
  await queue[Symbol.asyncDispose]()
}

test('the five minutes with SQLite go as the page says', { timeout: 240_000 }, async () => {
  const [mail, shop] = examplesOf('docs/start-sqlite.md').map(({ code }) => code)
  await using folder = openFolder()
  folder.write('mail.mts', mail!)
  folder.write('shop.mts', shop!)
  const placed = { code: 0, stdout: 'an order was placed\n', stderr: '' }

  const mailer = folder.run('mail.mts')
  await subscribed(join(folder.path, 'queue.db'))
  expect(await folder.run('shop.mts').ended).toEqual(placed)
  await mailer.says(/^order 1: a letter about tea\n$/)
  const failed = await folder.run('shop.mts', {}, ['fail']).ended
  expect(failed.code).toBe(1)
  expect(failed.stderr).toContain('the card was refused')
  expect(await mailer.signal('SIGINT')).toMatchObject({
    code: 0,
    stdout: 'order 1: a letter about tea\n',
  })

  expect(await folder.run('shop.mts').ended).toEqual(placed)
  expect(await folder.run('shop.mts').ended).toEqual(placed)
  await folder.run('mail.mts').says(/^order 2: a letter about tea\norder 3: a letter about tea\n$/)
})

/** Resolves when billing has written an invoice and has not committed it. */
async function billing(url: string): Promise<void> {
  const open = `select 1 from pg_stat_activity where datname = current_database()
    and state = 'idle in transaction' and query like 'insert into invoices%'`
  await until(async () => (await rowsOf(url, open)).length > 0)
}

test.skipIf(!here)(
  'the ten minutes with PostgreSQL and RabbitMQ go as the page says, over a kill of billing',
  { timeout: 240_000 },
  async () => {
    const [second, first] = examplesOf('docs/start-postgres-rabbitmq.md').map(({ code }) => code)
    await using shopDatabase = await ownDatabase()
    await using billingDatabase = await ownDatabase()
    await using place = await openVhost()
    await using folder = openFolder()
    const port = await freePort()
    folder.write('billing.mts', second!)
    folder.write(
      'shop.mts',
      first!.replace('listen(3000)', `listen(${port}, () => console.log('listens'))`),
    )
    const env = {
      SHOP_URL: shopDatabase.url,
      BILLING_URL: billingDatabase.url,
      AMQP_URL: place.url,
    }
    const order = async (cents: number): Promise<string> => {
      const answer = await fetch(`http://localhost:${port}/?cents=${cents}`, { method: 'POST' })
      return `${answer.status} ${await answer.text()}`
    }

    const killed = folder.run('billing.mts', env)
    await folder.run('shop.mts', env).says(/listens/)
    expect(await order(1200)).toBe('201 order 1\n')
    await killed.says(/order 1 is billed \(try \d+\)\n/)
    expect(await order(-5)).toMatch(/^422 .*check/)

    expect(await order(300)).toBe('201 order 3\n')
    await billing(billingDatabase.url)
    await killed.signal('SIGKILL')
    await folder.run('billing.mts', env).says(/order 3 is billed \(try [2-9]\)\n/)
    expect(
      await rowsOf(billingDatabase.url, 'select order_id, cents from invoices order by 1'),
    ).toEqual([
      [1, 1200],
      [3, 300],
    ])
  },
)
