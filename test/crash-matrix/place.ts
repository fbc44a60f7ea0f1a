/** The servers that all cells share, and the programs that they start. */
import { join } from 'node:path'
import { buildPrograms } from '../../scripts/programs.ts'
import type { CellBroker } from './brokers/broker.ts'
import { postgresQueueCells } from './brokers/postgres-queue.ts'
import { openNatsCells } from './brokers/nats.ts'
import { openRabbitCells } from './brokers/rabbitmq.ts'
import type { CellDatabase } from './databases/database.ts'
import { openMysqlCells } from './databases/mysql.ts'
import { openPostgresCells } from './databases/postgres.ts'
import type { RelayKind } from './plan.ts'

const root = join(import.meta.dirname, '../..')

export interface Place extends AsyncDisposable {
  databaseOf(kind: RelayKind): CellDatabase
  brokerOf(kind: RelayKind): CellBroker
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
  readonly brokers: Readonly<Record<'rabbitmq' | 'nats' | 'queue', CellBroker | undefined>>
}

const brokerName = ({ road, broker }: RelayKind): 'rabbitmq' | 'nats' | 'queue' =>
  road === 'straight' ? 'queue' : (broker ?? 'rabbitmq')

async function openServers(
  stack: AsyncDisposableStack,
  kinds: readonly RelayKind[],
): Promise<Servers> {
  const databases = new Set(kinds.map(({ database }) => database))
  const brokers = new Set(kinds.map(brokerName))
  const [postgres, mysql, rabbitmq, nats] = await Promise.all([
    databases.has('postgres') ? openPostgresCells() : undefined,
    databases.has('mysql') ? openMysqlCells() : undefined,
    brokers.has('rabbitmq') ? openRabbitCells() : undefined,
    brokers.has('nats') ? openNatsCells() : undefined,
  ])
  for (const each of [postgres, mysql, rabbitmq, nats]) stack.use(each)
  const queue = postgres === undefined ? undefined : postgresQueueCells(postgres)
  return { databases: { postgres, mysql }, brokers: { rabbitmq, nats, queue } }
}

/** With the servers that these kinds of roads need. */
export async function openPlace(kinds: readonly RelayKind[]): Promise<Place> {
  const stack = new AsyncDisposableStack()
  try {
    const programs = await openPrograms(stack)
    const { databases, brokers } = await openServers(stack, kinds)
    const there = <Part>(part: Part | undefined): Part => {
      if (part === undefined) throw new Error('the server of this road was not started')
      return part
    }
    return {
      databaseOf: ({ database }) => there(databases[database]),
      brokerOf: (kind) => there(brokers[brokerName(kind)]),
      programs,
      versions: {
        'Node.js': process.versions.node,
        ...databases.postgres?.versions,
        ...databases.mysql?.versions,
        ...brokers.rabbitmq?.versions,
        ...brokers.nats?.versions,
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
