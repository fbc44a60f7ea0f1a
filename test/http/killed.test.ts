import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { Mersal } from '../../src/index.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { temporaryFolder } from '../contract/sqlite-harness.ts'
import { serverAnswers, serverUrl, testDatabase } from '../postgres/database.ts'
import { Ordered, type Plan, type Point, points } from './checkout-process.ts'

interface Process extends AsyncDisposable {
  readonly url: string
  readonly child: ChildProcess
}

async function start(plan: Plan): Promise<Process> {
  const program = join(import.meta.dirname, 'checkout-process.ts')
  const child = spawn(process.execPath, [program, JSON.stringify(plan)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [port] = (await once(createInterface(child.stdout), 'line')) as [string]
  const ended = once(child, 'exit')
  return {
    url: `http://127.0.0.1:${port}/orders`,
    child,
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

async function post(url: string, sku: number): Promise<{ status: number; body: string }> {
  const response = await fetch(url, {
    method: 'POST',
    body: JSON.stringify({ sku }),
    headers: { 'content-type': 'application/json', 'idempotency-key': '"one"' },
  })
  return { status: response.status, body: await response.text() }
}

interface Place extends AsyncDisposable {
  readonly plan: Plan
  readonly orders: () => Promise<unknown[]>
}

const places: Readonly<Record<string, () => Promise<Place>>> = {
  SQLite: () => {
    const folder = temporaryFolder()
    const reader = new DatabaseSync(folder.file('shop.db'))
    reader.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, sku INTEGER NOT NULL)')
    return Promise.resolve({
      plan: { folder: folder.path },
      orders: () => Promise.resolve(reader.prepare('SELECT id, sku FROM orders').all()),
      async [Symbol.asyncDispose]() {
        reader.close()
        folder[Symbol.dispose]()
      },
    })
  },
  ...((await serverAnswers())
    ? {
        PostgreSQL: async () => {
          const folder = temporaryFolder()
          const { schema, query, ...database } = await testDatabase()
          await query(`create table ${schema}.orders (id serial primary key, sku integer not null)`)
          return {
            plan: { folder: folder.path, postgres: { url: serverUrl, schema } },
            orders: () => query(`select id, sku from ${schema}.orders`),
            async [Symbol.asyncDispose]() {
              await database[Symbol.asyncDispose]()
              folder[Symbol.dispose]()
            },
          }
        },
      }
    : {}),
}

describe.each(Object.entries(places))('a server on %s', (_, open) => {
  test.each(points)(
    'P1: killed when the request was %s, a repeat has one effect, one message and one answer',
    async (kill: Point) => {
      await using place = await open()
      const heard: number[] = []
      await using watch = new Mersal({
        name: 'watch',
        transport: sqliteQueue({ path: `${place.plan.folder}/broker.db` }),
        logger: false,
      })
      watch.handle(Ordered, ({ sku }) => void heard.push(sku))
      await watch.start()
      let victim: number
      {
        await using first = await start({ ...place.plan, kill })
        victim = first.child.pid ?? 0
        await expect(post(first.url, 7)).rejects.toThrow()
        expect(first.child.signalCode ?? (await once(first.child, 'exit'))[1]).toBe('SIGKILL')
        expect(await place.orders()).toHaveLength(kill === 'committed' ? 1 : 0)
      }
      await using second = await start(place.plan)
      const answer = await post(second.url, 7)
      expect(answer.status).toBe(201)
      const by = (JSON.parse(answer.body) as { by: number }).by
      expect(by).toBe(kill === 'committed' ? victim : second.child.pid)
      expect(await post(second.url, 7)).toEqual(answer)
      expect((await post(second.url, 8)).status).toBe(422)
      expect(await place.orders()).toHaveLength(1)
      await expect.poll(() => heard, { timeout: 30_000 }).toEqual([7])
    },
  )
})
