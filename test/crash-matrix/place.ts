/** The servers that all cells share, and the programs that they start. */
import { join } from 'node:path'
import { type Channel, type ChannelModel, connect } from 'amqplib'
import { Pool } from 'pg'
import { buildPrograms } from '../../scripts/programs.ts'
import { privateCluster } from '../../scripts/servers/postgres.ts'
import { openPrivateBroker } from '../../scripts/servers/rabbitmq.ts'

const root = join(import.meta.dirname, '../..')

export interface Place extends AsyncDisposable {
  readonly database: string
  readonly broker: string
  readonly pool: Pool
  /** The folder of the programs. */
  readonly programs: string
  readonly versions: Readonly<Record<string, string>>
  /** A plain client of the broker. */
  plainly<Result>(task: (channel: Channel) => Promise<Result>): Promise<Result>
}

async function openPrograms(stack: AsyncDisposableStack): Promise<string> {
  const own = ['worker', 'trap', 'relay-config'].map((name) => ({
    in: join(import.meta.dirname, `${name}.ts`),
    out: name,
  }))
  const program = { in: join(root, 'src/cli/main.ts'), out: 'mersal' }
  return stack.use(await buildPrograms('crash-matrix', [...own, program])).folder
}

export async function openPlace(): Promise<Place> {
  const stack = new AsyncDisposableStack()
  try {
    const programs = await openPrograms(stack)
    const [cluster, server] = await Promise.all([
      privateCluster({
        track_commit_timestamp: 'on',
        max_connections: '200',
        synchronous_commit: 'on',
      }),
      openPrivateBroker(),
    ])
    stack.use(cluster)
    stack.use(server)
    const pool = new Pool({ connectionString: cluster.url, max: 6, application_name: 'harness' })
    stack.defer(() => pool.end())
    const model: ChannelModel = await connect(server.url, { noDelay: true })
    model.on('error', () => {})
    stack.defer(() => model.close())
    const { rows } = await pool.query<{ server_version: string }>('show server_version')
    return {
      database: cluster.url,
      broker: server.url,
      pool,
      programs,
      versions: {
        'Node.js': process.versions.node,
        PostgreSQL: rows[0]?.server_version.split(' ')[0] ?? '?',
        RabbitMQ: (await server.ctl('version')).trim(),
      },
      async plainly(task) {
        const channel = await model.createChannel()
        channel.on('error', () => {})
        try {
          return await task(channel)
        } finally {
          await channel.close().catch(() => {}) // the broker may have closed it
        }
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
