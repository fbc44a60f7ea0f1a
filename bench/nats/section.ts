import { brokerTables } from '../brokers/tables.ts'
import type { Effort } from '../effort.ts'
import type { Table } from '../report.ts'
import { publishing } from './publish.ts'
import { receiving } from './receive.ts'

/** NATS JetStream. */
export async function nats(effort: Effort): Promise<Table[]> {
  const { servers } = effort
  const [postgres, broker] = await Promise.all([servers.postgres(), servers.nats()])
  return await brokerTables(
    effort,
    { postgres, broker },
    {
      publishing,
      receiving,
      published: 'Published with acks, file storage',
      received: 'Received and handled, 10 at a time',
    },
  )
}
