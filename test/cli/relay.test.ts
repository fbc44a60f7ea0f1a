import { Pool } from 'pg'
import { describe, expect, test } from 'vitest'
import { sqliteQueue } from '../../src/sqlite.ts'
import { clusterAvailable, privateCluster } from '../postgres/cluster.ts'
import { openProject, postgresConfig, type Running, sqliteConfig } from './project.ts'
import { type Kind, message, openBench, kindsHere } from './stores.ts'

const kinds: readonly Kind[] = await kindsHere()

async function addressOf(relay: Running): Promise<string> {
  return (await relay.says(/(http:\/\/[\d.:]+)\/metrics/))[1]!
}

async function get(url: string): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(url)
  return { status: response.status, text: await response.text() }
}

/** Asks again until it is so. */
async function until(check: () => Promise<boolean>): Promise<void> {
  while (!(await check())) await new Promise((resolve) => setTimeout(resolve, 50))
}

describe.each(kinds)('mersal relay on %s', { timeout: 240_000 }, (kind) => {
  test('publishes what is there and what comes, tells so, and stops on SIGTERM with everything settled', async () => {
    await using bench = await openBench(kind)
    await bench.declare('orders')
    await bench.send(message('a'), message('b'))
    const relay = bench.project.start(['relay', '--port', '0'])
    const address = await addressOf(relay)
    await bench.send(message('c'))
    await until(async () => (await bench.store.admin.stats()).pending === 0)
    expect(await get(`${address}/healthz`)).toMatchObject({ status: 200 })
    expect(await get(`${address}/readyz`)).toEqual({ status: 200, text: 'ready\n' })
    expect((await get(`${address}/other`)).status).toBe(404)
    expect((await fetch(`${address}/metrics`, { method: 'POST' })).status).toBe(405)
    const { text } = await get(`${address}/metrics`)
    expect(text).toContain(
      'mersal_relay_published_total{destination="default/queue/orders",outcome="confirmed"} 3',
    )
    expect(text).toContain('mersal_relay_lost_claims_total 0')
    expect(text).toMatch(/^mersal_relay_claims_total [1-9]/m)
    expect(text).toContain('mersal_relay_settled_total 3')
    expect(text).toContain('mersal_outbox_pending ')
    const { code, stderr } = await relay.signal('SIGTERM')
    expect(code).toBe(0)
    expect(stderr).toContain('everything was settled')
    expect((await bench.received('orders')).sort()).toEqual(['a', 'b', 'c'])
  })

  test('--once publishes what is due, leaves what is delayed, and ends', async () => {
    await using bench = await openBench(kind)
    await bench.declare('orders')
    await bench.send(message('a'), message('b'), message('later', { delayMs: 3_600_000 }))
    const { code, stderr } = await bench.project.mersal(['relay', '--once'])
    expect(stderr).toContain('everything was settled')
    expect(code).toBe(0)
    expect((await bench.received('orders')).sort()).toEqual(['a', 'b'])
    expect(await bench.store.admin.stats()).toMatchObject({ pending: 1, claimed: 0 })
  })

  test('is two relays on one outbox that publish every message once', async () => {
    await using bench = await openBench(kind, { further: 'relay: { batchSize: 20 },' })
    await bench.declare('orders')
    const relays = [
      bench.project.start(['relay', '--port', '0']),
      bench.project.start(['relay', '--port', '0']),
    ]
    await Promise.all(relays.map(addressOf))
    const bodies = Array.from({ length: 300 }, (_, n) => `${n % 7}:${n}`)
    for (let start = 0; start < bodies.length; start += 30) {
      await bench.send(
        ...bodies
          .slice(start, start + 30)
          .map((body) => message(body, { partitionKey: body.split(':')[0]! })),
      )
    }
    await until(async () => (await bench.store.admin.stats()).pending === 0)
    expect(
      (await Promise.all(relays.map((relay) => relay.signal('SIGTERM')))).map(({ code }) => code),
    ).toEqual([0, 0])
    const received = await bench.received('orders')
    expect(received.toSorted()).toEqual(bodies.toSorted())
    for (let key = 0; key < 7; key++) {
      const ofKey = (list: readonly string[]): string[] =>
        list.filter((body) => body.startsWith(`${key}:`))
      expect(ofKey(received)).toEqual(ofKey(bodies))
    }
  })

  test('tells of a broker that refuses: dead letters by reason, and the state of the outbox', async () => {
    await using bench = await openBench(kind, { further: 'relay: { maxAttempts: 1 },' })
    await bench.send(message('a', { queue: 'nobody' }))
    const relay = bench.project.start(['relay', '--port', '0'])
    const address = await addressOf(relay)
    await until(async () =>
      (await get(`${address}/metrics`)).text.includes(
        'mersal_relay_dead_total{destination="default/queue/nobody",reason="unroutable"} 1',
      ),
    )
    const { code, stderr } = await relay.signal('SIGTERM')
    expect(code).toBe(0)
    for (const line of stderr.trim().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ time: expect.any(String) as string })
  })
})

describe('mersal relay', { timeout: 240_000 }, () => {
  test('listens nowhere with --no-http, and needs no port', async () => {
    await using bench = await openBench('sqlite')
    const relay = bench.project.start(['relay', '--no-http'])
    await relay.says(/relay 'relay' runs: sqlite to default \(sqlite\)/)
    const { code, stdout } = await relay.signal('SIGINT')
    expect(code).toBe(0)
    expect(stdout).not.toContain('http')
  })

  test('fails when the port that it was given is taken', async () => {
    await using bench = await openBench('sqlite')
    const first = bench.project.start(['relay', '--port', '0'])
    const port = (await addressOf(first)).split(':').at(-1)!
    expect(await bench.project.mersal(['relay', '--port', port])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('EADDRINUSE') as string,
    })
  })

  test('says that it needs a broker', async () => {
    await using bench = await openBench('sqlite')
    bench.project.write('mersal.config.ts', sqliteConfig().replace(/transport: .*/, ''))
    expect(await bench.project.mersal(['relay'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('a relay needs a broker') as string,
    })
  })
})

describe.runIf(kinds.includes('postgres') && clusterAvailable())(
  'mersal relay and a database that goes away',
  { timeout: 240_000 },
  () => {
    test('is not ready while the database is down, and goes on by itself when it is back', async () => {
      await using cluster = await privateCluster()
      await using project = openProject(
        postgresConfig(cluster.url, 'mersal', '', 'relay: { pollIntervalMs: 100, claimMs: 1000 },'),
      )
      expect(await project.mersal(['migrate'])).toMatchObject({ code: 0 })
      await using broker = sqliteQueue({ path: project.file('queue.db') })
      await broker.subscribe('orders', [])
      const relay = project.start(['relay', '--port', '0'])
      const address = await addressOf(relay)
      await until(async () => (await get(`${address}/readyz`)).status === 200)
      await cluster.kill()
      await until(async () => (await get(`${address}/readyz`)).status === 503)
      expect((await get(`${address}/readyz`)).text).toMatch(
        /^the database has not answered for \d+ s\n$/,
      )
      expect((await get(`${address}/healthz`)).status).toBe(200)
      const { status, text } = await get(`${address}/metrics`)
      expect(status).toBe(200)
      expect(text).toMatch(/^mersal_relay_claim_failures_total [1-9]/m)
      expect(text).not.toContain('mersal_outbox_pending')
      await cluster.start()
      const pool = new Pool({ connectionString: cluster.url })
      pool.on('error', () => {})
      await pool.query(`select mersal.send('orders', 'orders.placed', '{}')`)
      await until(async () => (await get(`${address}/readyz`)).status === 200)
      await until(async () => (await pool.query('select from mersal.outbox')).rowCount === 0)
      await pool.end()
      const { code, stderr } = await relay.signal('SIGTERM')
      expect(code).toBe(0)
      expect(stderr).toContain('the outbox storage can be claimed from again')
    })

    test('stops within its grace although the database does not answer', async () => {
      await using cluster = await privateCluster()
      await using project = openProject(postgresConfig(cluster.url, 'mersal'))
      await project.mersal(['migrate'])
      const relay = project.start(['relay', '--port', '0', '--grace-ms', '1000'])
      await addressOf(relay)
      await cluster.kill()
      await relay.says(/claiming from the outbox storage failed/)
      expect((await relay.signal('SIGTERM')).code).toBe(0)
    })

    test('fails at once when there is no database at the start', async () => {
      await using project = openProject(postgresConfig('postgres://app@127.0.0.1:1/shop', 'mersal'))
      expect(await project.mersal(['relay', '--port', '0'])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('ECONNREFUSED') as string,
      })
    })

    test('--once waits for a database that is away at the start, as long as it may', async () => {
      await using project = openProject(postgresConfig('postgres://app@127.0.0.1:1/shop', 'mersal'))
      const { code, stderr } = await project.mersal(['relay', '--once', '--within-ms', '4000'])
      expect(code).toBe(1)
      expect(stderr).toContain('ECONNREFUSED')
      expect(stderr).toContain('not everything was published within 4000 ms')
    })
  },
)

describe('mersal relay and a broker that does not answer', { timeout: 240_000 }, () => {
  test('gives up at the end of its grace, says so with its exit code, and leaves the message to the next relay', async () => {
    await using bench = await openBench('sqlite')
    bench.project.write(
      'mersal.config.ts',
      sqliteConfig().replace(
        /transport: .*/,
        `transport: { ...sqliteQueue({ path: 'queue.db' }), publish: (list) => list.map(() => new Promise(() => {})) } as never,`,
      ),
    )
    await bench.send(message('a'))
    const relay = bench.project.start(['relay', '--port', '0', '--grace-ms', '500'])
    const address = await addressOf(relay)
    await until(async () =>
      (await get(`${address}/metrics`)).text.includes('mersal_relay_held_messages 1'),
    )
    const { code, stderr } = await relay.signal('SIGTERM')
    expect(code).toBe(1)
    expect(stderr).toContain('falls due by itself')
    expect(await bench.store.admin.stats()).toMatchObject({ pending: 1, dead: 0 })
  })
})
