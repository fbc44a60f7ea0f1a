import { setTimeout as sleep } from 'node:timers/promises'
import { createCheck } from '../check.ts'
import { cpuSeconds, type Sample } from '../measure.ts'
import { numberOf, thousandKeys } from '../messages.ts'
import { openQueue } from '../rabbit-queue.ts'
import type { OpenPath, Path, Scene } from './path.ts'

/** How long what was committed may take to arrive before it counts as lost. */
const PATIENCE_MS = 15_000

export interface Drive {
  /** Sends until it resolves, and tells every number that was committed, with the moment. */
  (path: Path, committed: (number: number, at: number) => void): Promise<void>
}

export interface Journey {
  readonly open: OpenPath
  /** False: who works here promises no order. */
  readonly ordered: boolean
  readonly drive: Drive
  /** Of what was delivered: number → moment of the commit, moment of the arrival. */
  readonly figures: (times: readonly Times[]) => Readonly<Record<string, number>>
}

export interface Times {
  readonly committed: number
  readonly arrived: number
}

/** Producers and the consumer are in this process; a relay, where there is one, has its own. */
export async function travel(
  scene: Omit<Scene, 'queue'>,
  { open, ordered, drive, figures }: Journey,
): Promise<Sample> {
  await using queue = await openQueue(scene.rabbit.url, 'classic')
  await using path = await open({ ...scene, queue: queue.name })
  const check = createCheck(thousandKeys)
  const arrived = new Map<number, number>()
  const consume = path.consume ?? ((onBody) => queue.consume(onBody))
  await consume((body) => {
    const number = numberOf(body)
    arrived.set(number, performance.now())
    check.saw(number)
  })
  const committed = new Map<number, number>()
  const before = cpuOf(scene, path)
  const started = performance.now()
  await drive(path, (number, at) => committed.set(number, at))
  const sentAll = performance.now()
  while (check.count < committed.size && performance.now() - sentAll < PATIENCE_MS) await sleep(5)
  const seconds = (performance.now() - started) / 1000
  const after = cpuOf(scene, path)
  const left = await retired(path)
  // Whatever is doubled gets a moment to arrive, too.
  await sleep(100)
  const per100k = 100_000 / committed.size
  const cpu = Object.fromEntries(
    Object.entries(after).map(([part, value]) => [part, (value - (before[part] ?? 0)) * per100k]),
  )
  const times = [...committed].flatMap(([number, at]) => {
    const arrival = arrived.get(number)
    return arrival === undefined ? [] : [{ committed: at, arrived: arrival }]
  })
  const faults = [...check.faults(committed.keys(), { ordered }), ...left]
  return { rate: times.length / seconds, cpu, figures: figures(times), faults }
}

/** What was delivered gets its time to be retired; what is left then stays. */
async function retired(path: Path): Promise<string[]> {
  const since = performance.now()
  for (;;) {
    const left = await path.leftOver()
    if (left.length === 0 || performance.now() - since > PATIENCE_MS) return left
    await sleep(50)
  }
}

function cpuOf(
  { postgres, rabbit, redis }: Omit<Scene, 'queue'>,
  { relay }: Path,
): Record<string, number> {
  const { user, system } = process.cpuUsage()
  return {
    'producer + consumer': (user + system) / 1e6,
    ...(relay === undefined ? { relay: 0 } : { relay: cpuSeconds(relay.pid) }),
    postgres: cpuSeconds(postgres.pid),
    rabbitmq: cpuSeconds(rabbit.pid),
    ...(redis === undefined ? {} : { redis: cpuSeconds(redis.pid) }),
  }
}
