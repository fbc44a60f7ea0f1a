import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Pool } from 'pg'
import { Happened } from '../backlog.ts'
import { leftOver } from '../backlog-run.ts'
import { jsonOf, thousandKeys } from '../messages.ts'
import { startRelay } from '../relays/process.ts'
import { Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { postgres as postgresStore } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { INSERT } from './business.ts'
import type { OpenPath, Path, Scene } from './path.ts'

interface Way {
  /**
   * False: the process that commits does not publish; a relay in a process of its own does.
   * 'commit-log': one that reads the log of the database.
   */
  readonly express: boolean | 'commit-log'
  readonly keyed?: boolean
  /** False: the business row travels in the flight of its commit. Default true. */
  readonly awaits?: boolean
}

/** Slots of the readers of a log that somebody follows. */
const FOLLOWED = `select from pg_replication_slots
  where starts_with(slot_name, 'bench_log_') and active and confirmed_flush_lsn is not null`

/** The app asks once a second whether somebody reads the log. */
async function writesForLog(pool: Pool): Promise<void> {
  while ((await pool.query(FOLLOWED)).rows.length === 0) await sleep(20)
  await sleep(1100)
}

export function mersal(way: Way): OpenPath {
  return async (scene) => {
    await using stack = new AsyncDisposableStack()
    const pool = stack.adopt(
      new Pool({ connectionString: scene.postgres.url, max: scene.connections }),
      (opened) => opened.end(),
    )
    await pool.query('truncate bench.outbox, bench.business')
    const app = stack.use(appOf(scene, way, pool))
    await app.start()
    const relay = way.express === true ? undefined : stack.use(await relayOf(scene, way))
    await relay?.follow()
    if (way.express === 'commit-log') await writesForLog(pool)
    const opened = stack.move()
    return {
      ...path(app, scene, way),
      ...(relay === undefined ? {} : { relay }),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    }
  }
}

export function appOf({ rabbit, queue }: Scene, { express }: Way, pool: Pool) {
  return new Mersal({
    name: 'bench',
    sendOnly: true,
    store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
    transport: express === true ? rabbitmq({ url: rabbit.url }) : memoryTransport(),
    routes: { [Happened.name]: queue },
    outbox: { runRelay: express === true, relay: { express } },
  })
}

function relayOf({ postgres, rabbit, queue }: Scene, { express }: Way) {
  return startRelay({
    kind: express === 'commit-log' ? 'mersal, log' : 'mersal',
    database: postgres.url,
    rabbit: { url: rabbit.url, queue, type: 'classic' },
    keys: 1000,
  })
}

export function path(
  app: ReturnType<typeof appOf>,
  { postgres }: Scene,
  { keyed = true, awaits = true }: Way,
): Omit<Path, typeof Symbol.asyncDispose> {
  return {
    async send(number) {
      const partitionKey = keyed ? thousandKeys.of(number) : undefined
      await app.transaction(async (tx, { send }) => {
        const inserting = tx.query(INSERT, ['a business row'])
        if (awaits) await inserting
        await send(Happened, jsonOf(number), partitionKey === undefined ? {} : { partitionKey })
      })
      return performance.now()
    },
    async leftOver() {
      const client = new Client({ connectionString: postgres.url })
      await client.connect()
      const faults = await leftOver(client, 'mersal')
      await client.end()
      return faults
    },
  }
}
