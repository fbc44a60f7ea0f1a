import { amount, type Effort } from '../effort.ts'
import { makeTables } from '../backlog.ts'
import { type Backlog, moveBacklog } from '../backlog-run.ts'
import { type Candidate, interleave } from '../measure.ts'
import type { QueueType } from '../rabbit-queue.ts'
import { type Table, tableOf } from '../report.ts'

/** A backlog that is published with confirms, to a classic and to a quorum queue. */
export async function relay(effort: Effort): Promise<Table[]> {
  const tables: Table[] = []
  for (const queueType of effort.size === 'tiny'
    ? (['quorum'] as const)
    : (['classic', 'quorum'] as const))
    tables.push(await relayTo(queueType, effort))
  return tables
}

async function relayTo(queueType: QueueType, effort: Effort): Promise<Table> {
  const { servers, peers, runs } = effort
  const [postgres, rabbit] = await Promise.all([servers.postgres(), servers.rabbit()])
  await makeTables(postgres.url)
  const many = amount(effort, 60_000, 10_000)
  const some = amount(effort, 20_000, 5000)
  const few = amount(effort, 3000, 1000)
  const candidate = (name: string, backlog: Backlog): Candidate => ({
    name,
    run: () => moveBacklog(postgres, { ...backlog, rabbit, queueType }),
  })
  const candidates = [
    candidate('bare publishing', { kind: 'bare publishing', count: many }),
    candidate('bare publishing, with properties', {
      kind: 'bare publishing, with properties',
      count: many,
    }),
    candidate('hand-written, one reader', { kind: 'floor overlap', count: many }),
    candidate('hand-written, claim then delete', { kind: 'floor claimed', count: many }),
    candidate('Mersal, 1,000 keys', { kind: 'mersal', count: many }),
    candidate('Mersal, no keys', { kind: 'mersal', count: many, keys: 0 }),
    candidate('hand-written, one reader, ten in one', { kind: 'floor overlap, tens', count: many }),
    candidate('Mersal, bundles of ten', { kind: 'mersal, bundles', count: many }),
    ...(peers ? [candidate('pg-boss', { kind: 'pg-boss', count: some })] : []),
    ...(peers ? [candidate('graphile-worker', { kind: 'graphile-worker', count: some })] : []),
    ...(peers
      ? [candidate('pg-transactional-outbox', { kind: 'pg-transactional-outbox', count: few })]
      : []),
  ]
  const results = await interleave(candidates, runs, { warmUp: false, only: effort.only })
  const title = `Drained and published, ${queueType} queue, ${postgres.version}, ${rabbit.version}`
  return tableOf({ id: `relay ${queueType}`, title, unit: 'messages/s' }, results)
}
