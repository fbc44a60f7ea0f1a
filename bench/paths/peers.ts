import { Pool, type PoolClient } from 'pg'
import { leftOver } from '../backlog-run.ts'
import { fillGraphile, sendGraphile } from '../peers/graphile-worker.ts'
import { fillBoss, openBoss, sendBoss } from '../peers/pg-boss.ts'
import { fillTransactional, sendTransactional } from '../peers/pg-transactional-outbox.ts'
import { startRelay } from '../relays/process.ts'
import { withClient } from '../with-client.ts'
import { commitRow } from './business.ts'
import { bullPath, busPath } from './dual-writes.ts'
import type { OpenPath, Scene } from './path.ts'

type Kind = 'pg-boss' | 'graphile-worker' | 'pg-transactional-outbox'

/**
 * The message as a job in the same transaction, and a worker in a process of its own that publishes
 * it.
 */
function peer(
  kind: Kind,
  open: (
    scene: Scene,
    stack: AsyncDisposableStack,
  ) => Promise<(client: PoolClient, number: number) => Promise<void>>,
): OpenPath {
  return async (scene) => {
    const { postgres, rabbit, queue, connections } = scene
    await using stack = new AsyncDisposableStack()
    const pool = stack.adopt(
      new Pool({ connectionString: postgres.url, max: connections }),
      (opened) => opened.end(),
    )
    const enqueue = await open(scene, stack)
    const relay = stack.use(
      await startRelay({
        kind,
        database: postgres.url,
        rabbit: { url: rabbit.url, queue, type: 'classic' },
        keys: 1000,
      }),
    )
    await relay.follow()
    const opened = stack.move()
    return {
      relay,
      async send(number) {
        await commitRow(pool, (client) => enqueue(client, number))
        return performance.now()
      },
      leftOver: () => withClient(postgres.url, (client) => leftOver(client, kind)),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    }
  }
}

const pgBossPath: OpenPath = peer('pg-boss', async ({ postgres }, stack) => {
  await withClient(postgres.url, (client) => fillBoss(client, postgres.url, 0))
  const boss = await openBoss(postgres.url, false)
  stack.defer(() => boss.stop({ graceful: false }))
  return (client, number) => sendBoss(boss, client, number)
})

const graphilePath: OpenPath = peer('graphile-worker', async ({ postgres }) => {
  await withClient(postgres.url, (client) => fillGraphile(client, postgres.url, 0))
  return sendGraphile
})

const transactionalPath: OpenPath = peer('pg-transactional-outbox', async ({ postgres }) => {
  await withClient(postgres.url, (client) => fillTransactional(client, 0))
  return await sendTransactional()
})

interface PeerPath {
  readonly name: string
  readonly open: OpenPath
  /**
   * Messages per second above which the way is sure to fall behind, so that its latency would be
   * that of its backlog.
   */
  readonly most: number
}

/**
 * BullMQ needs a Redis. The last two are no outboxes: a crash after the commit loses the message.
 */
export function peerPaths(redis: boolean): readonly PeerPath[] {
  return [
    { name: 'pg-boss', open: pgBossPath, most: 10_000 },
    { name: 'graphile-worker', open: graphilePath, most: 10_000 },
    { name: 'pg-transactional-outbox', open: transactionalPath, most: 500 },
    ...(redis ? [{ name: 'commit, then BullMQ (unsafe)', open: bullPath, most: 10_000 }] : []),
    { name: 'commit, then @node-ts/bus-core (unsafe)', open: busPath, most: 10_000 },
  ]
}
