import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serverAnswers, serverUrl } from '../../../scripts/servers/given.ts'
import { mariadbProblem, privateMariadb } from '../../../scripts/servers/mariadb.ts'
import { clusterProblem, freePort, privateCluster } from '../../../scripts/servers/postgres.ts'
import { isPresent } from '../../../scripts/servers/present.ts'
import { brokerProblem, openPrivateBroker } from '../../../scripts/servers/rabbitmq.ts'
import { event, Mersal, type Transport } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { mysql } from '../../../src/mysql.ts'
import { postgres } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import type { Store } from '../../../src/core/store.ts'
import { openProject } from '../../cli/project.ts'
import { type Authority, authority } from './authority.ts'

const here =
  isPresent(clusterProblem()) && isPresent(brokerProblem()) && isPresent(mariadbProblem())
const plain = await serverAnswers()
const Placed = event<{ id: number }>('orders.placed')
const TRUST = 'give the certificate of the authority as `ca`'
const NAME = 'give that as `servername`'
const NO_TLS = 'it speaks no TLS there'

/** Starts an app, and resolves to what its handler has got; or to the error. */
async function tried(parts: { store?: Store<never>; transport?: Transport }): Promise<unknown> {
  const handled = Promise.withResolvers<unknown>()
  const transport = parts.transport ?? memoryTransport()
  const app = new Mersal<never>({ name: 'shop', logger: false, ...parts, transport } as never)
  app.handle(Placed, ({ id }) => handled.resolve(id))
  try {
    await app.start()
    await app.direct.publish(Placed, { id: 7 })
    return await handled.promise
  } catch (error) {
    return error
  } finally {
    await app.stop()
  }
}

const failure = (code: string, text: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(text) })

describe.skipIf(!here)('with an authority of one’s own', { timeout: 300_000 }, () => {
  const opened = new AsyncDisposableStack()
  let other: Authority
  let postgresUrl = ''
  let postgresCa = ''
  let mariadbUrl = ''
  let mariadbCa = ''
  let rabbitUrl = ''
  let rabbitCa = ''

  beforeAll(async () => {
    // Their certificates are for 127.0.0.1, and not for localhost.
    const names = 'IP:127.0.0.1'
    other = opened.use(authority())
    const ofPostgres = opened.use(authority({ names, user: 'postgres' }))
    const cluster = opened.use(
      await privateCluster({
        ssl: 'on',
        ssl_cert_file: ofPostgres.cert,
        ssl_key_file: ofPostgres.key,
      }),
    )
    const ofMariadb = opened.use(authority({ names, user: 'mysql' }))
    const mariadb = opened.use(
      await privateMariadb([
        `--ssl-ca=${ofMariadb.caFile}`,
        `--ssl-cert=${ofMariadb.cert}`,
        `--ssl-key=${ofMariadb.key}`,
      ]),
    )
    const ofRabbit = opened.use(authority({ names, user: 'rabbitmq' }))
    const port = await freePort()
    opened.use(
      await openPrivateBroker([
        `listeners.ssl.1 = 127.0.0.1:${port}`,
        `ssl_options.cacertfile = ${ofRabbit.caFile}`,
        `ssl_options.certfile = ${ofRabbit.cert}`,
        `ssl_options.keyfile = ${ofRabbit.key}`,
        'ssl_options.verify = verify_none',
      ]),
    )
    ;[postgresUrl, postgresCa] = [cluster.url, ofPostgres.ca]
    ;[mariadbUrl, mariadbCa] = [`${mariadb.url}/mysql`, ofMariadb.ca]
    ;[rabbitUrl, rabbitCa] = [`amqps://guest:guest@127.0.0.1:${port}`, ofRabbit.ca]
  }, 300_000)
  afterAll(() => opened.disposeAsync())

  async function onPostgres(url: string, ssl: object): Promise<unknown> {
    const pool = new Pool({ connectionString: url, ssl, max: 4 })
    pool.on('error', () => {})
    try {
      return await tried({ store: postgres({ pool }) as unknown as Store<never> })
    } finally {
      await pool.end()
    }
  }

  async function onMariadb(url: string, ssl: object): Promise<unknown> {
    const pool = createPool({ uri: url, ssl, connectionLimit: 4 })
    try {
      return await tried({ store: mysql({ pool }) as unknown as Store<never> })
    } finally {
      await pool.end()
    }
  }

  const onRabbit = (url: string, tls: object): Promise<unknown> =>
    tried({ transport: rabbitmq({ url, tls, newQueuePauseMs: 0, logger: false } as never) })

  test('PostgreSQL works with its certificate', async () => {
    expect(await onPostgres(postgresUrl, { ca: postgresCa })).toBe(7)
    const pool = new Pool({ connectionString: postgresUrl, ssl: { ca: postgresCa } })
    const asked = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'
    expect((await pool.query(asked)).rows).toEqual([{ ssl: true }])
    await pool.end()
  })

  test('MariaDB works with its certificate', async () => {
    expect(await onMariadb(mariadbUrl, { ca: mariadbCa })).toBe(7)
  })

  test('RabbitMQ works with its certificate', async () => {
    expect(await onRabbit(rabbitUrl, { ca: rabbitCa })).toBe(7)
  })

  test('PostgreSQL with another authority, another name or without TLS says what to do', async () => {
    const code = 'MERSAL_STORE_FAILED'
    expect(await onPostgres(postgresUrl, { ca: other.ca })).toEqual(failure(code, TRUST))
    const named = postgresUrl.replace('127.0.0.1', 'localhost')
    expect(await onPostgres(named, { ca: postgresCa })).toEqual(failure(code, NAME))
    if (plain) expect(await onPostgres(serverUrl, {})).toEqual(failure(code, NO_TLS))
  })

  test('MariaDB with another authority or another name says what to do', async () => {
    const code = 'MERSAL_STORE_FAILED'
    expect(await onMariadb(mariadbUrl, { ca: other.ca })).toEqual(failure(code, TRUST))
    const named = mariadbUrl.replace('127.0.0.1', 'localhost')
    const ssl = { ca: mariadbCa, verifyIdentity: true }
    expect(await onMariadb(named, ssl)).toEqual(failure(code, NAME))
  })

  test('RabbitMQ with another authority, another name or without TLS says what to do', async () => {
    const code = 'MERSAL_INVALID_OPTIONS'
    expect(await onRabbit(rabbitUrl, { ca: other.ca })).toEqual(failure(code, TRUST))
    const named = rabbitUrl.replace('127.0.0.1', 'localhost')
    expect(await onRabbit(named, { ca: rabbitCa })).toEqual(failure(code, NAME))
    expect(await onRabbit('amqps://guest:guest@127.0.0.1:5672', {})).toEqual(failure(code, NO_TLS))
  })

  test('the program takes the certificate from NODE_EXTRA_CA_CERTS, and says so without it', async () => {
    await using project = openProject()
    using both = authority()
    const urls = { DATABASE_URL: `${postgresUrl}?sslmode=verify-full`, AMQP_URL: rabbitUrl }
    const file = project.file('ca.pem')
    project.write('ca.pem', `${postgresCa}${rabbitCa}`)
    const right = { ...urls, NODE_EXTRA_CA_CERTS: file }
    expect(await project.mersal(['migrate'], right)).toMatchObject({ code: 0 })
    const found = await project.mersal(['doctor'], right)
    expect([found.code, found.stdout]).toEqual([0, expect.stringContaining('0 faults')])
    const wrong = { ...urls, NODE_EXTRA_CA_CERTS: both.caFile }
    const migrated = await project.mersal(['migrate'], wrong)
    expect([migrated.code, migrated.stderr]).toEqual([1, expect.stringContaining(TRUST)])
    const examined = await project.mersal(['doctor'], wrong)
    expect(examined.code).toBe(3)
    for (const about of ['postgres', 'rabbitmq'])
      expect(examined.stdout).toMatch(new RegExp(`^FAULT .*${about}.*${TRUST}`, 'm'))
  })
})
