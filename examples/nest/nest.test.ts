import { cpSync, globSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { rabbitIsHere, serverAnswers } from '../../scripts/servers/given.ts'
import { openVhost, type Vhost } from '../../scripts/servers/vhost.ts'
import { ownDatabase } from '../../test/postgres/own-database.ts'
import { project, type Project } from '../../test/projects/package.ts'
import { toolsOf } from '../../test/projects/tools.ts'
import { type Program, startProgram } from '../program.ts'

const tools = toolsOf('nest-example', import.meta.dirname)
const here = (await serverAnswers()) && (await rabbitIsHere()) && tools !== undefined

async function rowsOf(url: string, query: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<object>(query)).rows
  } finally {
    await client.end()
  }
}

describe.skipIf(!here)('Nest, with the transactions of', { timeout: 300_000 }, () => {
  const running: Program[] = []
  let place: Project
  let vhost: (Vhost & AsyncDisposable) | undefined

  // As a project of its own: the built package, and what the example installs.
  beforeAll(async () => {
    place = project(tools)
    const files = ['src/**/*.ts', 'package.json', 'tsconfig.json']
    for (const file of globSync(files, { cwd: import.meta.dirname }))
      cpSync(join(import.meta.dirname, file), join(place.folder, file))
    const compiled = place.node(['node_modules/typescript/lib/tsc.js', '--pretty', 'false'])
    expect(compiled).toEqual({ code: 0, text: '' })
    vhost = await openVhost()
  }, 300_000)
  afterAll(async () => {
    for (const program of running) await program.end('SIGKILL')
    await vhost?.[Symbol.asyncDispose]()
    place[Symbol.dispose]()
  })

  async function start(library: string, DATABASE_URL: string): Promise<Program> {
    const env = { DATABASE_URL, AMQP_URL: vhost!.url, PORT: '0' }
    const program = startProgram([`dist/${library}.js`], { cwd: place.folder, env })
    running.push(program)
    return program
  }

  async function order(url: string, item: string): Promise<[status: number, answer: unknown]> {
    const response = await fetch(`${url}/orders`, {
      method: 'POST',
      body: JSON.stringify({ item }),
      headers: { 'content-type': 'application/json' },
    })
    return [response.status, await response.json()]
  }

  test.each(['typeorm', 'prisma', 'mikro-orm'])(
    '%s: order and event commit together or not at all, and the handler works in one too',
    async (library) => {
      await using database = await ownDatabase()
      const program = await start(library, database.url)
      const url = await program.said(/listens on (.*)/)
      expect(await order(url, 'book')).toEqual([201, { order: 1 }])
      expect(await order(url, 'unicorn')).toMatchObject([422, {}])
      expect(await order(url, 'lamp')).toEqual([201, { order: 3 }])
      await program.said(/shipped (1)/)
      await program.said(/shipped (3)/)
      expect(await (await fetch(`${url}/orders`)).json()).toEqual([
        { id: 1, item: 'book', shipped: true },
        { id: 3, item: 'lamp', shipped: true },
      ])
      const health = await fetch(`${url}/health`)
      const up = { mersal: { status: 'up', health: 'ok', troubles: [] } }
      expect([health.status, await health.json()]).toMatchObject([200, { status: 'ok', info: up }])

      expect(await program.end('SIGTERM')).toBe('SIGTERM')
      await program.said(/(pool closed)/)
      expect(program.complaints()).toBe('')
      const counts = `select (select count(*)::int from mersal.outbox) as outbox,
        (select count(*)::int from mersal.inbox) as inbox,
        (select count(*)::int from mersal.dead) as dead`
      expect(await rowsOf(database.url, counts)).toEqual([{ outbox: 0, inbox: 2, dead: 0 }])
    },
  )

  test('a health check of Nest answers 503 while the database is away, and 200 afterwards', async () => {
    await using database = await ownDatabase()
    await using away = await ownDatabase()
    const program = await start('typeorm', database.url)
    const url = await program.said(/listens on (.*)/)
    const until = async (status: number): Promise<unknown> => {
      for (;;) {
        const response = await fetch(`${url}/health`)
        const answer: unknown = await response.json()
        if (response.status === status) return answer
        await pause(100)
      }
    }
    await until(200)
    const name = new URL(database.url).pathname.slice(1)
    const client = new Client({ connectionString: away.url })
    await client.connect()
    await client.query(`alter database ${name} allow_connections false`)
    await client.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1',
      [name],
    )
    expect(await until(503)).toMatchObject({
      status: 'error',
      error: { mersal: { status: 'down', health: 'down', troubles: [{ part: 'store' }] } },
    })
    await client.query(`alter database ${name} allow_connections true`)
    expect(await until(200)).toMatchObject({ status: 'ok' })
    await client.end()
    await program.end('SIGKILL')
  })
})
