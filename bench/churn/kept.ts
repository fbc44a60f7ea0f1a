import { moveBacklog } from '../backlog-run.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, interleave, type Sample } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import type { BenchServer } from '../server.ts'
import { withClient } from '../with-client.ts'

const KEPT = { keepSentMs: 86_400_000 }

/**
 * What it costs to keep messages that were confirmed, and whether it matters how many there are
 * already.
 */
export async function keeping(effort: Effort, postgres: BenchServer): Promise<Table> {
  const count = amount(effort, 50_000, 10_000)
  const many = amount(effort, 1_000_000, 100_000)
  const kept = (before: number) => async (): Promise<Sample> => {
    await fillKept(postgres, before)
    const sample = await moveBacklog(postgres, { kind: 'mersal', count, store: KEPT })
    const missing = before + count - (await countKept(postgres))
    return missing === 0
      ? sample
      : { ...sample, faults: [...sample.faults, `${missing} of the kept messages are missing`] }
  }
  const candidates: Candidate[] = [
    { name: 'deleted at once', run: () => moveBacklog(postgres, { kind: 'mersal', count }) },
    { name: 'kept', run: kept(0) },
    { name: `kept, beside ${many.toLocaleString('en-US')} older ones`, run: kept(many) },
  ]
  const results = await interleave(candidates, effort.runs, { warmUp: false, only: effort.only })
  return tableOf(
    {
      id: 'churn kept',
      title: `Drain into the kept messages, nothing published, ${postgres.version}`,
      unit: 'messages/s',
    },
    results,
  )
}

function fillKept(server: BenchServer, count: number): Promise<unknown> {
  return withClient(server.url, async (client) => {
    await client.query('select bench.sent_partitions()')
    await client.query('truncate bench.sent')
    await client.query(`
      insert into bench.sent (id, key, type, transport, kind, name, headers, body, position, added_at, sent_at)
      select gen_random_uuid(), 'key ' || n % 1000, 'bench.happened', 'default', 'queue', 'bench', '{}', convert_to(repeat('x', 256), 'UTF8'), -n, now(), now()
      from generate_series(1, ${count}) n`)
  })
}

async function countKept(server: BenchServer): Promise<number> {
  const { rows } = await withClient(server.url, (client) =>
    client.query<{ count: string }>('select count(*)::text as count from bench.sent'),
  )
  return Number(rows[0]?.count)
}
