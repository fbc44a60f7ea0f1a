import { brokerTables } from '../brokers/tables.ts'
import type { Effort } from '../effort.ts'
import type { Table } from '../report.ts'
import { publishing } from './publish.ts'
import { receiving } from './receive.ts'

/** Redis Streams. */
export async function redis(effort: Effort): Promise<Table[]> {
  const { servers } = effort
  const [postgres, broker] = await Promise.all([servers.postgres(), servers.syncedRedis()])
  if (broker === undefined) return []
  return await brokerTables(
    effort,
    { postgres, broker },
    {
      publishing,
      receiving,
      published: 'Published, appendfsync always',
      received: 'Received and handled, 10 at a time',
    },
  )
}
