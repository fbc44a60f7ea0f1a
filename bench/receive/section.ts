import type { Effort } from '../effort.ts'
import { interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import { fromPostgres } from './postgres.ts'
import { fromRabbit } from './rabbitmq.ts'
import { fromSqlite } from './sqlite.ts'

/**
 * A handler with an inbox row and one business row, against consumers that write the business row
 * only.
 */
export function receive(effort: Effort): Promise<Table[]> {
  return tables(effort, 'receive', false)
}

/** The same, and handlers that take several messages in one transaction. */
export function batches(effort: Effort): Promise<Table[]> {
  return tables(effort, 'batches', true)
}

async function tables(effort: Effort, section: string, together: boolean): Promise<Table[]> {
  const { runs, size, servers } = effort
  const [postgres, rabbit] = await Promise.all([servers.postgres(), servers.rabbit()])
  const options = { warmUp: size !== 'tiny', only: effort.only }
  const unit = 'messages/s'
  const title = `Received and handled, 10 at a time${together ? ' or together' : ''}, ${postgres.version}`
  return [
    tableOf(
      { id: `${section} rabbitmq`, title: `${title}, ${rabbit.version}, quorum queue`, unit },
      await interleave(fromRabbit(effort, postgres, rabbit, together), runs, options),
    ),
    tableOf(
      { id: `${section} postgres`, title: `${title}, queue in the same database`, unit },
      await interleave(fromPostgres(effort, postgres, together), runs, options),
    ),
    tableOf(
      {
        id: `${section} sqlite`,
        title: 'Received and handled, queue and business row in SQLite',
        unit,
      },
      await interleave(fromSqlite(effort, together), runs, options),
    ),
  ]
}
