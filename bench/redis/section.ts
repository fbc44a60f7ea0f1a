import type { Effort } from '../effort.ts'
import { interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import { publishing } from './publish.ts'
import { receiving } from './receive.ts'

/** Redis Streams: publishing, and a handler with an inbox row and one business row. */
export async function redis(effort: Effort): Promise<Table[]> {
  const { runs, size, servers } = effort
  const [postgres, server] = await Promise.all([servers.postgres(), servers.syncedRedis()])
  if (server === undefined) return []
  const options = { warmUp: size !== 'tiny', only: effort.only }
  const unit = 'messages/s'
  return [
    tableOf(
      { id: 'redis publish', title: `Published, appendfsync always, ${server.version}`, unit },
      await interleave(publishing(effort, server), runs, options),
    ),
    tableOf(
      {
        id: 'redis receive',
        title: `Received and handled, 10 at a time, ${postgres.version}, ${server.version}`,
        unit,
      },
      await interleave(receiving(effort, postgres, server), runs, options),
    ),
  ]
}
