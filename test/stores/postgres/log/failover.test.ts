import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import pg from 'pg'
import { expect, test } from 'vitest'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import { createRelays, Mersal } from '../../../../src/index.ts'
import { postgres } from '../../../../src/postgres.ts'
import { clusterAvailable, privateCluster } from '../../../postgres/cluster.ts'
import { Counted, LOG_ALONE } from '../../../postgres/commit-log/place.ts'
import { makeBroker, tableBroker } from '../../../postgres/commit-log/table-broker.ts'

const WAIT = { timeout: 60_000 }
const settings = { wal_level: 'logical', wal_keep_size: '64MB' }

/** An address that leads to whichever server is the primary. */
async function openDoor(to: { port: number }): Promise<{ readonly url: string } & AsyncDisposable> {
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    const inside = connect(to.port, '127.0.0.1')
    for (const [from, other] of [
      [socket, inside],
      [inside, socket],
    ] as const) {
      sockets.add(from)
      from.pipe(other)
      from.on('error', () => other.destroy())
      from.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return {
    url: `postgres://postgres@127.0.0.1:${(server.address() as AddressInfo).port}/postgres`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

test.skipIf(!clusterAvailable())(
  'P2 P5 P10: after a failover the relay reads the log of the new primary, to which no slot was copied',
  { timeout: 180_000 },
  async () => {
    await using primary = await privateCluster(settings)
    await using standby = await privateCluster(settings, { standbyOf: primary.url })
    const to = { port: primary.port }
    await using door = await openDoor(to)
    const pool = new pg.Pool({ connectionString: door.url, max: 4 })
    pool.on('error', () => {})
    await pool.query(makeBroker)
    const broker = tableBroker(door.url)
    const logger = silentLogger
    const store = postgres({ pool, listen: false, logger })
    const relays = createRelays({
      stores: { main: postgres({ pool, listen: false, logger }) },
      transport: broker,
      relay: { ...LOG_ALONE, pollIntervalMs: 500 },
      logger,
    })
    const app = new Mersal({
      name: 'writer',
      store,
      transport: broker,
      sendOnly: true,
      logger,
      outbox: { runRelay: false, relay: { express: 'commit-log', expressGraceMs: 3000 } },
    })
    await app.start()
    await relays.start()
    const followed = async (): Promise<void> => {
      await expect
        .poll(async () => (await store.commitLog?.condition().catch(() => undefined))?.state, WAIT)
        .toBe('followed')
    }
    const send = (n: number): Promise<void> =>
      app.transaction(async (_tx, { publish }) => {
        await publish(Counted, n, { partitionKey: 'a' })
      })
    const one = async (server: pg.Pool, text: string): Promise<unknown> =>
      Object.values((await server.query<Record<string, unknown>>(text)).rows[0] ?? {})[0]
    await followed()
    for (let n = 0; n < 50; n++) await send(n)
    const other = new pg.Pool({ connectionString: standby.url, max: 1 })
    const end = String(await one(pool, 'select pg_current_wal_lsn()'))
    await expect
      .poll(() => one(other, `select pg_last_wal_replay_lsn() >= '${end}'`), WAIT)
      .toBe(true)
    await primary.kill()
    await one(other, 'select pg_promote()')
    expect(
      await one(other, `select count(*)::int from pg_replication_slots where not temporary`),
    ).toBe(0)
    to.port = standby.port
    await followed()
    for (let n = 50; n < 100; n++) await send(n)
    await expect.poll(() => one(pool, 'select count(*)::int from mersal.outbox'), WAIT).toBe(0)
    const { rows } = await pool.query<{ body: string }>('select body from broker order by n')
    const firsts = [...new Set(rows.map(({ body }) => Number(body)))]
    expect(firsts).toEqual(Array.from({ length: 100 }, (_, n) => n))
    await app.stop()
    await relays.stop()
    for (const each of [other, pool]) await each.end()
  },
)
