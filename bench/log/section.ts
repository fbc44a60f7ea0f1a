import { makeTables } from '../backlog.ts'
import { DEBEZIUM, debeziumIsHere } from '../debezium/jars.ts'
import { debezium } from '../debezium/path.ts'
import type { Effort } from '../effort.ts'
import { spread, steadily } from '../latency/section.ts'
import { type Candidate, interleave } from '../measure.ts'
import { mersal } from '../paths/mersal.ts'
import type { OpenPath } from '../paths/path.ts'
import { type Drive, type Times, travel } from '../paths/run.ts'
import { barePublish, commitThenPublish } from '../paths/unsafe.ts'
import { type Table, tableOf } from '../report.ts'
import { behind, producers } from '../sustained/section.ts'

const CONNECTIONS = 8
/** What Debezium waits for a batch by default, in milliseconds, and the least that it can wait. */
const POLL_MS = [500, 1] as const

interface Journey {
  readonly drive: Drive
  readonly figures: (times: readonly Times[]) => Record<string, number>
}

/** A relay that reads the log of PostgreSQL beside the other ways out of the same table. */
export async function log(effort: Effort): Promise<Table[]> {
  const { servers, runs, seconds, only, size } = effort
  const [postgres, rabbit] = await Promise.all([servers.postgres(), servers.rabbit()])
  await makeTables(postgres.url)
  const others = size !== 'tiny' && effort.peers && debeziumIsHere()
  const table = async (
    id: string,
    title: string,
    first: readonly [name: string, open: OpenPath],
    journey: Journey,
  ): Promise<Table> => {
    const ways: readonly (readonly [name: string, open: OpenPath])[] = [
      first,
      ['Mersal, express lane', mersal({ express: true })],
      ['Mersal, separate relay', mersal({ express: false })],
      ['Mersal, relay that reads the log', mersal({ express: 'commit-log' })],
      ...(others
        ? POLL_MS.map(
            (ms) => [`Debezium ${DEBEZIUM}, poll.interval.ms ${ms}`, debezium(ms)] as const,
          )
        : []),
    ]
    const candidates = ways.map(
      ([name, open]): Candidate => ({
        name,
        run: () =>
          travel(
            { postgres, rabbit, connections: CONNECTIONS },
            { open, ordered: true, ...journey },
          ),
      }),
    )
    const results = await interleave(candidates, runs, { warmUp: false, only })
    const where = `${postgres.version}, ${rabbit.version}, classic queue`
    return tableOf({ id, title: `${title}, ${where}`, unit: 'messages/s' }, results)
  }
  const tables: Table[] = []
  for (const rate of size === 'tiny' ? [200] : [200, 1000])
    tables.push(
      await table(
        `log ${rate}`,
        `Commit to consumer at ${rate} messages/s`,
        ['bare publishing', barePublish],
        { drive: steadily(rate, effort), figures: spread(effort) },
      ),
    )
  if (size === 'tiny') return tables
  return [
    ...tables,
    await table(
      'log sustained',
      `Delivered, ${CONNECTIONS} producers`,
      ['commit, then publish and hope', commitThenPublish],
      { drive: producers(seconds), figures: behind },
    ),
  ]
}
