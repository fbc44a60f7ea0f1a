import { document, documents as openDocuments } from '../../src/documents.ts'
import { event } from '../../src/index.ts'
import { redis, redisDocuments } from '../../src/redis.ts'
import { createCheck, upTo } from '../check.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, cpuSeconds, interleave, type Sample } from '../measure.ts'
import { type Body, evenKeys, jsonOf, numberOf } from '../messages.ts'
import { HASTY } from '../redis/queue.ts'
import { type Table, tableOf } from '../report.ts'
import type { BenchServer } from '../server.ts'
import { ownCpu } from '../sqlite/folder.ts'
import { byHand, hoping } from './by-hand.ts'
import {
  arrived,
  bodies,
  type Change,
  changing,
  documentOf,
  DOCUMENTS,
  openScene,
} from './scene.ts'

/** From a change of a document in Redis to its message in a stream, in the order of each document. */
export async function documents(effort: Effort): Promise<Table[]> {
  const { runs, size, servers, only } = effort
  const server = await servers.syncedRedis()
  if (server === undefined) return []
  const count = amount(effort, 20_000, 5000)
  const candidate = (name: string, change: Change): Candidate => ({
    name,
    run: () => run(server, change, count),
  })
  const candidates = [
    candidate('hand-written, one reader', byHand),
    candidate('state, then publish and hope', hoping),
    candidate('Mersal', mersal),
  ]
  const title = `Changed and published, 32 at a time, appendfsync always, ${server.version}`
  const results = await interleave(candidates, runs, { warmUp: size !== 'tiny', only })
  return [tableOf({ id: 'documents', title, unit: 'changes/s' }, results)]
}

async function run(server: BenchServer, change: Change, count: number): Promise<Sample> {
  await using scene = await openScene(server.url, count)
  const own = ownCpu()
  const before = cpuSeconds(server.pid)
  const started = performance.now()
  await change(scene)
  const seconds = (performance.now() - started) / 1000
  const per100k = 100_000 / count
  const cpu = { node: own() * per100k, redis: (cpuSeconds(server.pid) - before) * per100k }
  const check = createCheck(evenKeys(DOCUMENTS))
  for (const body of await bodies(scene)) check.saw(numberOf(Buffer.from(body)))
  return { rate: count / seconds, cpu, faults: check.faults(upTo(count)) }
}

const Happened = event<Body>('bench.happened')
const Counter = document<{ readonly changes: number }>('counters')

const mersal: Change = async (scene) => {
  const { prefix, url } = scene.queue
  await using transport = redis({ url, prefix, ...HASTY })
  const storage = redisDocuments({ client: scene.client, prefix, logger: false })
  await using counters = openDocuments({ name: 'bench', storage, transport, logger: false })
  counters.start()
  await changing(scene, (number) =>
    counters.update(Counter, documentOf(number), (before, { publish }) => {
      publish(Happened, jsonOf(number))
      return { changes: (before?.changes ?? 0) + 1 }
    }),
  )
  await arrived(scene)
}
