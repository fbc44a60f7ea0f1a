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
  /** False: the process that commits does not publish; a relay in a process of its own does. */
  readonly express: boolean
  readonly keyed?: boolean
  /** False: the business row travels in the flight of its commit. Default true. */
  readonly awaits?: boolean
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
    const relay = way.express ? undefined : stack.use(await relayOf(scene))
    await relay?.follow()
    const opened = stack.move()
    return {
      ...path(app, scene, way),
      ...(relay === undefined ? {} : { relay }),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    }
  }
}

function appOf({ rabbit, queue }: Scene, { express }: Way, pool: Pool) {
  return new Mersal({
    name: 'bench',
    sendOnly: true,
    store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
    transport: express ? rabbitmq({ url: rabbit.url }) : memoryTransport(),
    routes: { [Happened.name]: queue },
    outbox: { runRelay: express },
  })
}

function relayOf({ postgres, rabbit, queue }: Scene) {
  return startRelay({
    kind: 'mersal',
    database: postgres.url,
    rabbit: { url: rabbit.url, queue, type: 'classic' },
    keys: 1000,
  })
}

function path(
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
