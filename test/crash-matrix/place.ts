/** The servers that all cells share, and the programs that they start. */
import { mkdir, rm, copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Channel, type ChannelModel, connect } from 'amqplib'
import { build } from 'esbuild'
import { Pool } from 'pg'
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

/** A few files in place of hundreds: a process starts in a third of the time. */
async function buildPrograms(stack: AsyncDisposableStack): Promise<string> {
  // The program `mersal` looks for its package.json three folders up; packages are found above.
  const folder = join(root, 'node_modules/.cache', `crash-matrix-${process.pid}`)
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const programs = join(folder, 'built/programs/here')
  await mkdir(programs, { recursive: true })
  await copyFile(join(root, 'package.json'), join(folder, 'package.json'))
  const own = ['worker', 'trap', 'relay-config'].map((name) =>
    join(import.meta.dirname, `${name}.ts`),
  )
  await build({
    entryPoints: [
      ...own.map((path) => ({ in: path, out: path.slice(path.lastIndexOf('/') + 1, -3) })),
      { in: join(root, 'src/cli/main.ts'), out: 'mersal' },
    ],
    outdir: programs,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    packages: 'external',
    logLevel: 'error',
  })
  return programs
}

export async function openPlace(): Promise<Place> {
  const stack = new AsyncDisposableStack()
  try {
    const programs = await buildPrograms(stack)
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
