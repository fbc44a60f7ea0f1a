import type { Effort } from '../effort.ts'
import { interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import { publishing } from './publish.ts'
import { receiving } from './receive.ts'

/** Kafka: publishing in the order of keys, and a handler with an inbox row and one business row. */
export async function kafka(effort: Effort): Promise<Table[]> {
  const { runs, size, servers } = effort
  const server = await servers.kafka()
  if (server === undefined) return []
  const postgres = await servers.postgres()
  const options = { warmUp: size !== 'tiny', only: effort.only }
  const unit = 'messages/s'
  return [
    tableOf(
      {
        id: 'kafka publish',
        title: `Published with acks of all, 1,000 keys, 8 partitions, one broker, ${server.version}`,
        unit,
      },
      await interleave(publishing(effort, server), runs, options),
    ),
    tableOf(
      {
        id: 'kafka receive',
        title: `Received and handled, 10 at a time, joining the group included, ${postgres.version}, ${server.version}`,
        unit,
      },
      await interleave(receiving(effort, postgres, server), runs, options),
    ),
  ]
}
