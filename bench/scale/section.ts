import { makeTables } from '../backlog.ts'
import { type Backlog, moveBacklog } from '../backlog-run.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, interleave } from '../measure.ts'
import { hotKey } from '../messages.ts'
import { type Table, tableOf } from '../report.ts'

/**
 * More relays, more rows, more or fewer keys: what does the throughput do? Ratios are those to the
 * first row.
 */
export async function scale(effort: Effort): Promise<Table[]> {
  const { servers, runs } = effort
  const [postgres, rabbit] = await Promise.all([servers.postgres(), servers.rabbit()])
  await makeTables(postgres.url)
  const table = async (
    id: string,
    title: string,
    backlogs: Readonly<Record<string, Omit<Backlog, 'kind'>>>,
  ): Promise<Table> => {
    const candidates = Object.entries(backlogs).map(
      ([name, backlog]): Candidate => ({
        name,
        run: () => moveBacklog(postgres, { kind: 'mersal', ...backlog }),
      }),
    )
    const results = await interleave(candidates, runs, { warmUp: false, only: effort.only })
    return tableOf({ id, title: `${title}, ${postgres.version}`, unit: 'messages/s' }, results)
  }
  const broker = { rabbit, queueType: 'quorum' } as const
  const count = amount(effort, 40_000, 6000)
  const few = amount(effort, 10_000, 2000)
  const hot = { spread: hotKey(1000), count: few, ...broker }
  if (effort.size === 'tiny')
    return [
      await table('scale relays', 'Relays on one backlog', {
        '1 relay': hot,
        '2 relays': { ...hot, relays: 2 },
      }),
    ]
  return [
    await table('scale relays', 'Relays on one backlog, quorum queue', {
      '1 relay': { count, ...broker },
      '2 relays': { count, ...broker, relays: 2 },
      '4 relays': { count, ...broker, relays: 4 },
    }),
    await table('scale backlog', 'Size of the backlog, nothing published', {
      small: { count: 1000 },
      middle: { count: amount(effort, 100_000, 10_000) },
      large: { count: amount(effort, 1_000_000, 50_000) },
    }),
    await table('scale keys', 'Number of keys, quorum queue', {
      'no keys': { count, keys: 0, ...broker },
      '10,000 keys': { count, keys: 10_000, ...broker },
      '1,000 keys': { count, keys: 1000, ...broker },
      '100 keys': { count: few, keys: 100, ...broker },
      '10 keys': { count: few, keys: 10, ...broker },
      'one key': { count: few, keys: 1, ...broker },
      'every second message with one key': hot,
    }),
  ]
}
