import { brokerTables } from '../brokers/tables.ts'
import type { Effort } from '../effort.ts'
import type { Table } from '../report.ts'
import { publishing } from './publish.ts'
import { receiving } from './receive.ts'

/** Kafka, in the order of keys. */
export async function kafka(effort: Effort): Promise<Table[]> {
  const { servers } = effort
  const broker = await servers.kafka()
  if (broker === undefined) return []
  const postgres = await servers.postgres()
  return await brokerTables(
    effort,
    { postgres, broker },
    {
      publishing,
      receiving,
      published: 'Published with acks of all, 1,000 keys, 8 partitions, one broker',
      received: 'Received and handled, 10 at a time, joining the group included',
    },
  )
}
