import { amount, type Effort } from '../effort.ts'
import { makeTables } from '../backlog.ts'
import { type Backlog, moveBacklog } from '../backlog-run.ts'
import { type Candidate, interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'

/** A backlog, and a transport that confirms at once: what claiming and settling cost. */
export async function drain(effort: Effort): Promise<Table[]> {
  const postgres = await effort.servers.postgres()
  await makeTables(postgres.url)
  const many = amount(effort, 100_000, 20_000)
  const some = amount(effort, 50_000, 10_000)
  const few = amount(effort, 5000, 1000)
  const candidate = (name: string, backlog: Backlog): Candidate => ({
    name,
    run: () => moveBacklog(postgres, backlog),
  })
  const candidates = [
    candidate('hand-written, delete', { kind: 'floor delete', count: many }),
    candidate('hand-written, claim then delete', { kind: 'floor claimed', count: many }),
    candidate('Mersal, 1,000 keys', { kind: 'mersal', count: many }),
    candidate('Mersal, no keys', { kind: 'mersal', count: many, keys: 0 }),
    candidate('Mersal, one key', { kind: 'mersal', count: many, keys: 1 }),
    ...(effort.peers ? [candidate('pg-boss', { kind: 'pg-boss', count: some })] : []),
    ...(effort.peers
      ? [candidate('graphile-worker', { kind: 'graphile-worker', count: some })]
      : []),
    ...(effort.peers
      ? [candidate('pg-transactional-outbox', { kind: 'pg-transactional-outbox', count: few })]
      : []),
  ]
  const results = await interleave(candidates, effort.runs, { warmUp: false, only: effort.only })
  return [
    tableOf(
      { id: 'drain', title: `Drain, nothing published, ${postgres.version}`, unit: 'messages/s' },
      results,
    ),
  ]
}
