import type { Effort } from '../effort.ts'
import { interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import { fromPostgres } from './postgres.ts'
import { fromRabbit } from './rabbitmq.ts'
import { fromSqlite } from './sqlite.ts'

/** A handler with an inbox row and one business row, against consumers that write the business row only. */
export async function receive(effort: Effort): Promise<Table[]> {
  const { runs, size, servers } = effort
  const [postgres, rabbit] = await Promise.all([servers.postgres(), servers.rabbit()])
  const options = { warmUp: size !== 'tiny', only: effort.only }
  const unit = 'messages/s'
  const title = `Received and handled, 10 at a time, ${postgres.version}`
  return [
    tableOf(
      { id: 'receive rabbitmq', title: `${title}, ${rabbit.version}, quorum queue`, unit },
      await interleave(fromRabbit(effort, postgres, rabbit), runs, options),
    ),
    tableOf(
      { id: 'receive postgres', title: `${title}, queue in the same database`, unit },
      await interleave(fromPostgres(effort, postgres), runs, options),
    ),
    tableOf(
      { id: 'receive sqlite', title: 'Received and handled, queue and business row in SQLite', unit },
      await interleave(fromSqlite(effort), runs, options),
    ),
  ]
}
