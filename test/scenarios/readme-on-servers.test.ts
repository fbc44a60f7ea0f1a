import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { Client } from 'pg'
import { expect, test } from 'vitest'
import { examplesOf, onSources } from '../house/examples.ts'
import { root } from '../house/sources.ts'
import { serverAnswers } from '../postgres/database.ts'
import { ownDatabase } from '../postgres/own-database.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'

const here = (await serverAnswers()) && (await rabbitIsHere())

function writeProgram(): { readonly file: string } & Disposable {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tmp/readme-'))
  const example = examplesOf('docs/send-and-handle.md').find(({ code }) =>
    code.includes("from 'mersal/rabbitmq'"),
  )
  if (example === undefined) throw new Error('the page has no example for RabbitMQ')
  const file = join(folder, 'program.ts')
  writeFileSync(file, onSources(example.code, folder))
  return { file, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

test.skipIf(!here)(
  'the example of the pages for PostgreSQL and RabbitMQ runs as it stands there, to the end of its event, again and again',
  { timeout: 240_000 },
  async ({ onTestFinished }) => {
    await using database = await ownDatabase()
    await using vhost = await openVhost()
    using program = writeProgram()
    const run = async (): Promise<{
      readonly exit: unknown
      readonly printed: string
      readonly complaints: string
    }> => {
      const child = spawn(process.execPath, ['--no-warnings', program.file], {
        env: { ...process.env, DATABASE_URL: database.url, AMQP_URL: vhost.url },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      onTestFinished(() => void child.kill('SIGKILL'))
      // It goes on until a signal comes; once it has said something it has done its work.
      child.stdout.once('data', () => child.kill('SIGTERM'))
      const [printed, complaints, exit] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, 'exit'),
      ])
      return { exit, printed, complaints }
    }

    expect(await run()).toEqual({ exit: [0, null], printed: 'student 1 is Ada\n', complaints: '' })
    expect(await run()).toEqual({ exit: [0, null], printed: 'student 2 is Ada\n', complaints: '' })

    const client = new Client({ connectionString: database.url })
    await client.connect()
    expect((await client.query('SELECT id, name FROM students ORDER BY id')).rows).toEqual([
      { id: 1, name: 'Ada' },
      { id: 2, name: 'Ada' },
    ])
    expect(
      (await client.query('SELECT id FROM mersal.outbox UNION ALL SELECT id FROM mersal.dead'))
        .rows,
    ).toEqual([])
    await client.end()
    const [, ...queues] = (await vhost.ctl('list_queues', '-p', vhost.vhost, 'name', 'messages'))
      .trim()
      .split('\n')
    expect(queues.toSorted()).toEqual(['shop\t0', 'shop.dead\t0'])
  },
)
