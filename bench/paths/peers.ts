import { Client, Pool, type PoolClient } from 'pg'
import { leftOver } from '../backlog-run.ts'
import { fillGraphile, sendGraphile } from '../peers/graphile-worker.ts'
import { fillBoss, openBoss, sendBoss } from '../peers/pg-boss.ts'
import { startRelay } from '../relays/process.ts'
import { INSERT } from './business.ts'
import type { OpenPath, Scene } from './path.ts'

type Kind = 'pg-boss' | 'graphile-worker'

/** The message as a job in the same transaction, and a worker in a process of its own that publishes it. */
function peer(
  kind: Kind,
  open: (scene: Scene, stack: AsyncDisposableStack) => Promise<(client: PoolClient, number: number) => Promise<void>>,
): OpenPath {
  return async (scene) => {
    const { postgres, rabbit, queue, connections } = scene
    await using stack = new AsyncDisposableStack()
    const pool = stack.adopt(new Pool({ connectionString: postgres.url, max: connections }), (opened) => opened.end())
    const enqueue = await open(scene, stack)
    const relay = stack.use(
      await startRelay({ kind, postgres: postgres.url, rabbit: { url: rabbit.url, queue, type: 'classic' }, keys: 1000 }),
    )
    await relay.follow()
    const opened = stack.move()
    return {
      relay,
      async send(number) {
        const client = await pool.connect()
        await client.query('begin')
        await client.query(INSERT, ['a business row'])
        await enqueue(client, number)
        await client.query('commit')
        client.release()
        return performance.now()
      },
      leftOver: () => withClient(postgres.url, (client) => leftOver(client, kind)),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    }
  }
}

async function withClient<Result>(url: string, work: (client: Client) => Promise<Result>): Promise<Result> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

export const pgBossPath: OpenPath = peer('pg-boss', async ({ postgres }, stack) => {
  await withClient(postgres.url, (client) => fillBoss(client, postgres.url, 0))
  const boss = await openBoss(postgres.url, false)
  stack.defer(() => boss.stop({ graceful: false }))
  return (client, number) => sendBoss(boss, client, number)
})

export const graphilePath: OpenPath = peer('graphile-worker', async ({ postgres }) => {
  await withClient(postgres.url, (client) => fillGraphile(client, postgres.url, 0))
  return sendGraphile
})
