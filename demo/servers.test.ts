import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { mariadbProblem, privateMariadb } from '../scripts/servers/mariadb.ts'
import { brokerProblem } from '../scripts/servers/rabbitmq.ts'
import {
  clusterAvailable,
  rabbitIsHere,
  serverAnswers,
  serverUrl,
} from '../scripts/servers/given.ts'
import { privateCluster } from '../scripts/servers/postgres.ts'
import { administratorUrl, serverAnswers as mysqlAnswers } from '../test/mysql/server.ts'
import { natsIsHere } from '../test/nats/server.ts'
import { openVhost } from '../scripts/servers/vhost.ts'
import { demo, lines, row } from './run-demo.ts'

const rabbitHere = await rabbitIsHere()
const privateServers = clusterAvailable() && rabbitHere && brokerProblem() === undefined
const givenServers = (await serverAnswers()) && rabbitHere
const mariadbHere = (await mysqlAnswers()) && mariadbProblem() === undefined
const input = lines.slice(0, 120).join('\n')
const few = lines.slice(0, 40).join('\n')

describe('the demo on real servers', { timeout: 600_000 }, () => {
  test.runIf(privateServers)(
    'keeps every promise while PostgreSQL and RabbitMQ are killed, and breaks some without the outbox',
    async () => {
      const args = ['--postgres', '--rabbitmq', '--input', '-', '--seed', '5']
      const { code, out } = await demo(args, input)
      expect(out).toContain('SIGKILL PostgreSQL, all its processes')
      expect(out).toContain('SIGKILL RabbitMQ, all its processes')
      expect(out).not.toContain('a planned fault did not happen')
      expect(out).toContain('Every promise of the outbox was kept.')
      for (const label of ['lost events', 'phantom events', 'duplicate effects']) {
        const [naive, outbox] = row(out, label)
        expect(naive, `${label}, naive`).toBeGreaterThan(0)
        expect(outbox, `${label}, outbox`).toBe(0)
      }
      expect(row(out, 'dead letters')[1]).toBe(2)
      expect(code).toBe(0)
    },
  )

  test.runIf(privateServers)('keeps every promise with a broker alone', async () => {
    const { code, out } = await demo(['--rabbitmq', '--part', 'outbox', '--input', '-'], few)
    expect(out).toContain('SIGKILL RabbitMQ')
    expect(out).not.toContain('PostgreSQL')
    expect(out).toContain('Every promise of the outbox was kept.')
    expect(code).toBe(0)
  })

  test.runIf(mariadbHere && natsIsHere())(
    'keeps every promise while MariaDB and NATS are killed',
    async () => {
      const args = ['--mysql', '--nats', '--part', 'outbox', '--input', '-', '--seed', '5']
      const { code, out } = await demo(args, input)
      expect(out).toContain('SIGKILL MariaDB, all its processes')
      expect(out).toContain('SIGKILL NATS, all its processes')
      expect(out).not.toContain('a planned fault did not happen')
      expect(out).not.toContain('RabbitMQ')
      expect(out).toContain('Every promise of the outbox was kept.')
      expect(row(out, 'dead letters')).toEqual([2])
      expect(code).toBe(0)
    },
  )

  test.runIf(givenServers)(
    'leaves given servers running, says so, and leaves nothing behind',
    async ({ onTestFinished }) => {
      await using vhost = await openVhost()
      const database = new Client({ connectionString: serverUrl })
      await database.connect()
      onTestFinished(() => database.end())
      const schemas = async (): Promise<unknown[]> =>
        (
          await database.query(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'mersal\\_demo\\_%'",
          )
        ).rows
      const before = await schemas()

      const { code, out } = await demo(
        [
          '--postgres-url',
          serverUrl,
          '--rabbitmq-url',
          vhost.url,
          '--part',
          'outbox',
          '--input',
          '-',
        ],
        few,
      )

      expect(out).toContain('PostgreSQL: a given server. It is not restarted')
      expect(out).toContain('RabbitMQ: a given server. It is not restarted')
      expect(out).not.toMatch(/SIGKILL (?:PostgreSQL|RabbitMQ)/)
      expect(out).toContain('Every promise of the outbox was kept.')
      expect(code).toBe(0)
      expect(await schemas()).toEqual(before)
      expect((await vhost.ctl('list_queues', '-p', vhost.vhost, 'name')).trim()).toBe('')
      expect(await vhost.ctl('list_exchanges', '-p', vhost.vhost, 'name')).not.toContain(
        'mersal-demo',
      )
    },
  )

  test.runIf(mariadbHere)(
    'leaves a given MariaDB running, and no database behind',
    async ({ onTestFinished }) => {
      const server = await createConnection({ uri: administratorUrl })
      onTestFinished(() => server.end())
      const databases = async (): Promise<unknown[]> =>
        (await server.query<RowDataPacket[]>("show databases like 'mersal\\_demo\\_%'"))[0]
      const before = await databases()
      const args = ['--mysql-url', administratorUrl, '--part', 'outbox', '--input', '-']
      const { code, out } = await demo(args, few)
      expect(out).toContain('MariaDB: a given server. It is not restarted')
      expect(out).not.toContain('SIGKILL MariaDB')
      expect(out).toContain('Every promise of the outbox was kept.')
      expect(code).toBe(0)
      expect(await databases()).toEqual(before)
    },
  )

  test.for([
    ['--postgres-url', 'postgres://me:secret@127.0.0.1:1/x', 'PostgreSQL'],
    ['--mysql-url', 'mysql://me:secret@127.0.0.1:1/x', 'MariaDB'],
    ['--rabbitmq-url', 'amqp://me:secret@127.0.0.1:1', 'RabbitMQ'],
  ] as const)(
    'says in one line that nothing answers at %s, without its password',
    async ([option, url, name]) => {
      const { code, out, err } = await demo([option, url, '--input', '-'], few)
      expect(code).toBe(2)
      expect(err).toMatch(
        new RegExp(
          `^${name}: the server of ${option} cannot be used: .*ECONNREFUSED.*\\nTry --help.\\n$`,
        ),
      )
      expect(out + err).not.toMatch(/secret|\n +at /)
    },
  )

  test.runIf(givenServers)(
    'says in one line that a given server does not take the user, the database or the vhost',
    async () => {
      const missing = new URL(serverUrl)
      missing.pathname = '/mersal_no_such_database'
      const database = await demo(['--postgres-url', missing.href, '--input', '-'], few)
      expect(database).toMatchObject({
        code: 2,
        err: expect.stringContaining('does not exist\nTry --help.') as string,
      })
      const vhost = await demo(
        ['--rabbitmq-url', 'amqp://nobody:canary@127.0.0.1:5672', '--input', '-'],
        few,
      )
      expect(vhost).toMatchObject({
        code: 2,
        err: expect.stringMatching(/RabbitMQ refuses the connection.*\nTry --help\.\n$/) as string,
      })
      expect(vhost.err).not.toContain('canary')
    },
  )

  test.runIf(clusterAvailable() && mariadbHere).for([
    ['--postgres-url', 'naive', 'SIGKILL registrar'],
    ['--postgres-url', 'outbox', 'SIGKILL'],
    ['--mysql-url', 'naive', 'SIGKILL registrar'],
    ['--mysql-url', 'outbox', 'SIGKILL'],
  ] as const)(
    'breaks off in few lines when a given server goes away for good (%s, %s), and leaves no files',
    async ([option, part, sign], { onTestFinished }) => {
      await using cluster =
        option === '--mysql-url'
          ? await privateMariadb()
          : await privateCluster({ max_connections: '100' })
      const temporary = mkdtempSync(join(tmpdir(), 'mersal-demo-test-'))
      onTestFinished(() => rmSync(temporary, { recursive: true }))
      let away: Promise<void> | undefined
      const { code, err } = await demo(
        [option, cluster.url, '--part', part, '--input', '-'],
        lines.join('\n'),
        {
          temporary,
          onOutput: (piece) => {
            if (piece.includes(sign)) away ??= cluster.kill()
          },
        },
      )
      await away
      expect(err).toMatch(/^The demo broke off: .+$/m)
      expect(err).not.toMatch(/\n +at |SuppressedError/)
      expect(code).toBe(3)
      expect(readdirSync(temporary)).toEqual([])
    },
  )

  test('shows no address when one is refused', async () => {
    const { code, err } = await demo(['--postgres-url', 'mysql://me:secret@host/db'])
    expect(code).toBe(2)
    expect(err).toContain('--postgres-url expects an address')
    expect(err).not.toContain('secret')
  })

  test('takes one database and one broker', async () => {
    const databases = await demo(['--postgres', '--mysql'])
    expect(databases).toMatchObject({
      code: 2,
      err: 'give --postgres or --mysql, and not both\nTry --help.\n',
    })
    const brokers = await demo(['--rabbitmq', '--nats'])
    expect(brokers).toMatchObject({
      code: 2,
      err: 'give --rabbitmq or --nats, and not both\nTry --help.\n',
    })
  })
})
