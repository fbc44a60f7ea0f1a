/**
 * One relay in a process of its own: says `ready`, begins when told to, says when everything is
 * done, ends when told to.
 */
import { once } from 'node:events'
import { mysqlFloorClaimed, mysqlFloorDelete, mysqlMersal } from '../mysql/relays.ts'
import { bare, mersalProperties, plainProperties } from './bare.ts'
import { floorClaimed, floorDelete, floorOverlap } from './floors.ts'
import { graphileWorker } from './graphile-worker.ts'
import type { Done, OpenRelay, Progress, RelayJob, RelayKind } from './job.ts'
import { mersal } from './mersal.ts'
import { pgBoss } from './pg-boss.ts'
import { pgTransactionalOutbox } from './pg-transactional-outbox.ts'
import { openSink } from './sink.ts'

const relays: Readonly<Record<RelayKind, OpenRelay>> = {
  'bare publishing': (job) => bare(job, plainProperties),
  'bare publishing, with properties': (job) => bare(job, mersalProperties),
  'floor delete': floorDelete,
  'floor claimed': floorClaimed,
  'floor overlap': floorOverlap,
  'floor overlap, tens': floorOverlap,
  mersal,
  'mersal, log': mersal,
  'mersal, bundles': mersal,
  'pg-boss': pgBoss,
  'graphile-worker': graphileWorker,
  'pg-transactional-outbox': pgTransactionalOutbox,
  'mysql, floor delete': mysqlFloorDelete,
  'mysql, floor claimed': mysqlFloorClaimed,
  'mysql, mersal': mysqlMersal,
}

const job = JSON.parse(process.argv[2] ?? '') as RelayJob
const sink = await openSink(job)
const relay = await relays[job.kind](job, sink)
const ended = once(process, 'disconnect')
process.send?.('ready')
await once(process, 'message')
const cpu = process.cpuUsage()
const started = performance.now()
await relay.start()
const telling = job.arriving
  ? setInterval(() => process.send?.({ moved: sink.moved } satisfies Progress), 5)
  : undefined
if (job.expected !== undefined) {
  if (job.arriving) await sink.all
  await relay.drained()
  clearInterval(telling)
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const done: Done = { seconds, cpuSeconds: (user + system) / 1e6, faults: sink.faults() ?? [] }
  process.send?.(done)
} else {
  process.send?.('started')
}
await ended
await relay[Symbol.asyncDispose]()
await sink[Symbol.asyncDispose]()
