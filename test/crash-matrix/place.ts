/** The servers that all cells share, and the programs that they start. */
import { join } from 'node:path'
import { buildPrograms } from '../../scripts/programs.ts'
import type { CellBroker } from './brokers/broker.ts'
import { postgresQueueCells } from './brokers/postgres-queue.ts'
import { openRabbitCells, type RabbitCells } from './brokers/rabbitmq.ts'
import type { CellDatabase } from './databases/database.ts'
import { openMysqlCells } from './databases/mysql.ts'
import { openPostgresCells } from './databases/postgres.ts'
import type { RelayKind } from './plan.ts'

const root = join(import.meta.dirname, '../..')

export interface Place extends AsyncDisposable {
  databaseOf(kind: RelayKind): CellDatabase
  brokerOf(kind: RelayKind): CellBroker
  /** Where programs find the broker. */
  readonly broker: string
  /** The folder of the programs. */
  readonly programs: string
  readonly versions: Readonly<Record<string, string>>
}

async function openPrograms(stack: AsyncDisposableStack): Promise<string> {
  const own = ['worker', 'trap/trap', 'relay-config'].map((path) => ({
    in: join(import.meta.dirname, `${path}.ts`),
    out: path.replace(/^.*\//, ''),
  }))
  const program = { in: join(root, 'src/cli/main.ts'), out: 'mersal' }
  return stack.use(await buildPrograms('crash-matrix', [...own, program])).folder
}

interface Servers {
  readonly databases: Readonly<Record<'postgres' | 'mysql', CellDatabase | undefined>>
  readonly rabbit: RabbitCells
  readonly queue: CellBroker | undefined
}

async function openServers(
  stack: AsyncDisposableStack,
  needed: ReadonlySet<RelayKind['database']>,
): Promise<Servers> {
  const [postgres, mysql, rabbit] = await Promise.all([
    needed.has('postgres') ? openPostgresCells() : undefined,
    needed.has('mysql') ? openMysqlCells() : undefined,
    openRabbitCells(),
  ])
  for (const each of [postgres, mysql, rabbit]) stack.use(each)
  const queue = postgres === undefined ? undefined : postgresQueueCells(postgres)
  return { databases: { postgres, mysql }, rabbit, queue }
}

/** With the servers that these kinds of roads need. */
export async function openPlace(kinds: readonly RelayKind[]): Promise<Place> {
  const stack = new AsyncDisposableStack()
  try {
    const programs = await openPrograms(stack)
    const needed = new Set(kinds.map(({ database }) => database))
    const { databases, rabbit, queue } = await openServers(stack, needed)
    const there = <Part>(part: Part | undefined): Part => {
      if (part === undefined) throw new Error('the server of this road was not started')
      return part
    }
    return {
      databaseOf: ({ database }) => there(databases[database]),
      brokerOf: ({ road }) => there(road === 'straight' ? queue : rabbit),
      broker: rabbit.url,
      programs,
      versions: {
        'Node.js': process.versions.node,
        ...databases.postgres?.versions,
        ...databases.mysql?.versions,
        ...rabbit.versions,
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
