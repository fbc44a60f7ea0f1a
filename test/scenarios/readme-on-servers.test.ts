import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'pg'
import { expect, test } from 'vitest'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { examplesOf, onSources } from '../house/examples.ts'
import { root } from '../house/sources.ts'
import { serverAnswers, serverUrl } from '../postgres/database.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'
import { plainClient } from '../rabbitmq/plain-client.ts'

const here = (await serverAnswers()) && (await rabbitIsHere())

/** What stands around the example: the names of the first one of the page, and an end. */
const before = `import { Mersal, event } from 'mersal'
const StudentRegistered = event<{ studentId: number; name: string }>('students.registered')
`
const after = `
process.once('SIGTERM', () => void shop.stop().then(() => pool.end()))
`

/** The example uses the names that Mersal and PostgreSQL have by default, so it gets a database of its own. */
async function ownDatabase(): Promise<{ readonly url: string } & AsyncDisposable> {
  const name = `mersal_readme_${randomBytes(4).toString('hex')}`
  const server = new Client({ connectionString: serverUrl })
  await server.connect()
  await server.query(`CREATE DATABASE ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return {
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      await server.query(`DROP DATABASE ${name} WITH (FORCE)`)
      await server.end()
    },
  }
}

function writeProgram(): { readonly file: string } & Disposable {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(root, '.tmp/readme-'))
  const example = examplesOf('README.md').find(({ code }) => code.includes("from 'mersal/rabbitmq'"))
  if (example === undefined) throw new Error('the README has no example for RabbitMQ')
  const file = join(folder, 'program.ts')
  writeFileSync(file, onSources(before + example.code + after, folder))
  return { file, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

test.skipIf(!here)(
  'the example of the README for PostgreSQL and RabbitMQ stores its row and publishes its event',
  { timeout: 60_000 },
  async ({ onTestFinished }) => {
    await using database = await ownDatabase()
    await using vhost = await openVhost()
    await using subscriber = rabbitmq({ url: vhost.url })
    await subscriber.subscribe('subscriber', ['students.registered'])
    await using broker = await plainClient(vhost.url)
    const client = new Client({ connectionString: database.url })
    await client.connect()
    await client.query('CREATE TABLE students (id serial PRIMARY KEY, name text NOT NULL)')

    using program = writeProgram()
    const child = spawn(process.execPath, ['--no-warnings', program.file], {
      env: { ...process.env, DATABASE_URL: database.url, AMQP_URL: vhost.url },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const complaints = text(child.stderr)
    const ended = once(child, 'exit')
    let message = await broker.channel.get('subscriber', { noAck: true })
    while (message === false && child.exitCode === null) {
      await pause(50)
      message = await broker.channel.get('subscriber', { noAck: true })
    }
    child.kill('SIGTERM')

    expect({ exit: await ended, complaints: await complaints }).toEqual({ exit: [0, null], complaints: '' })
    if (message === false) throw new Error('the event did not arrive')
    expect(JSON.parse(message.content.toString())).toEqual({ studentId: 1, name: 'Ada' })
    expect((await client.query('SELECT id, name FROM students')).rows).toEqual([{ id: 1, name: 'Ada' }])
    expect((await client.query('SELECT id FROM mersal.outbox')).rows).toEqual([])
    await client.end()
  },
)
