import { setTimeout as sleep } from 'node:timers/promises'
import { makeTables } from '../backlog.ts'
import type { Effort } from '../effort.ts'
import { type Candidate, interleave, quantile } from '../measure.ts'
import { mersal } from '../paths/mersal.ts'
import type { OpenPath, Path } from '../paths/path.ts'
import { peerPaths } from '../paths/peers.ts'
import { type Drive, type Times, travel } from '../paths/run.ts'
import { barePublish } from '../paths/unsafe.ts'
import { type Table, tableOf } from '../report.ts'

const CONNECTIONS = 8

/**
 * From the moment at which the producer knows of the commit to the callback of the consumer, at a
 * steady rate.
 */
export async function latency(effort: Effort): Promise<Table[]> {
  const { servers, size } = effort
  const [postgres, rabbit, redis] = await Promise.all([
    servers.postgres(),
    servers.rabbit(),
    effort.peers ? servers.redis() : undefined,
  ])
  await makeTables(postgres.url)
  const tables: Table[] = []
  for (const rate of size === 'tiny' ? [200] : [200, 1000]) {
    const candidate = (name: string, open: OpenPath, ordered = true): Candidate => ({
      name,
      run: () =>
        travel(
          { postgres, rabbit, redis, connections: CONNECTIONS },
          { open, ordered, drive: steadily(rate, effort), figures: spread(effort) },
        ),
    })
    const candidates = [
      candidate('bare publishing', barePublish),
      candidate('Mersal, express lane', mersal({ express: true })),
      candidate('Mersal, separate relay', mersal({ express: false })),
      ...(effort.peers
        ? peerPaths(redis !== undefined)
            .filter(({ most }) => rate <= most)
            .map(({ name, open }) => candidate(name, open, false))
        : []),
    ]
    const results = await interleave(candidates, effort.runs, { warmUp: false, only: effort.only })
    const title = `Commit to consumer at ${rate} messages/s, ${postgres.version}, ${rabbit.version}, classic queue`
    tables.push(tableOf({ id: `latency ${rate}`, title, unit: 'messages/s' }, results))
  }
  return tables
}

/** A second for everything to become warm, then twice the time of the effort. */
export function steadily(rate: number, { seconds, size }: Effort): Drive {
  return async (path: Path, committed) => {
    const count = Math.ceil(rate * (size === 'tiny' ? seconds : seconds * 2 + 1))
    const sending: Promise<void>[] = []
    const started = performance.now()
    for (let number = 1; number <= count; ) {
      const due = Math.min(count, Math.floor(((performance.now() - started) / 1000) * rate))
      for (; number <= due; number++) {
        const sent = number
        sending.push(path.send(sent).then((at) => committed(sent, at)))
      }
      await sleep(1)
    }
    await Promise.all(sending)
  }
}

export function spread({ size }: Effort): (times: readonly Times[]) => Record<string, number> {
  return (times) => {
    const first = Math.min(...times.map(({ committed }) => committed))
    const waits = times
      .filter(({ committed }) => size === 'tiny' || committed > first + 1000)
      .map(({ committed, arrived }) => arrived - committed)
    return {
      'p50 ms': quantile(waits, 0.5),
      'p90 ms': quantile(waits, 0.9),
      'p99 ms': quantile(waits, 0.99),
    }
  }
}
