/** The servers that all cells share, and the programs that they start. */
import { join } from 'node:path'
import { buildPrograms } from '../../scripts/programs.ts'
import type { CellBroker } from './brokers/broker.ts'
import { postgresQueueCells } from './brokers/postgres-queue.ts'
import { openKafkaCells } from './brokers/kafka.ts'
import { openNatsCells } from './brokers/nats.ts'
import { openRabbitCells } from './brokers/rabbitmq.ts'
import { openRedisCells } from './brokers/redis.ts'
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

const openers = {
  rabbitmq: openRabbitCells,
  nats: openNatsCells,
  redis: openRedisCells,
  kafka: openKafkaCells,
} as const
type BrokerName = keyof typeof openers | 'queue'

interface Servers {
  readonly databases: Readonly<Record<'postgres' | 'mysql', CellDatabase | undefined>>
  readonly brokers: ReadonlyMap<BrokerName, CellBroker>
}

const brokerName = ({ road, broker }: RelayKind): BrokerName =>
  road === 'straight' ? 'queue' : (broker ?? 'rabbitmq')

async function openServers(
  stack: AsyncDisposableStack,
  kinds: readonly RelayKind[],
): Promise<Servers> {
  const databases = new Set(kinds.map(({ database }) => database))
  const names = [...new Set(kinds.map(brokerName))].filter((name) => name !== 'queue')
  const opening = names.map(async (name) => [name, stack.use(await openers[name]())] as const)
  const [postgres, mysql, ...opened] = await Promise.all([
    databases.has('postgres') ? openPostgresCells() : undefined,
    databases.has('mysql') ? openMysqlCells() : undefined,
    ...opening,
  ])
  for (const each of [postgres, mysql]) stack.use(each)
  const brokers = new Map<BrokerName, CellBroker>(opened)
  if (postgres !== undefined) brokers.set('queue', postgresQueueCells(postgres))
  return { databases: { postgres, mysql }, brokers }
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
      brokerOf: (kind) => there(brokers.get(brokerName(kind))),
      programs,
      versions: {
        'Node.js': process.versions.node,
        ...databases.postgres?.versions,
        ...databases.mysql?.versions,
        ...Object.assign({}, ...[...brokers.values()].map(({ versions }) => versions)),
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}
