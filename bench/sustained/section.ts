import { makeTables } from '../backlog.ts'
import type { Effort } from '../effort.ts'
import { type Candidate, interleave } from '../measure.ts'
import { mersal } from '../paths/mersal.ts'
import type { OpenPath } from '../paths/path.ts'
import { peerPaths } from '../paths/peers.ts'
import { type Drive, type Times, travel } from '../paths/run.ts'
import { commitThenPublish } from '../paths/unsafe.ts'
import { type Table, tableOf } from '../report.ts'

const PRODUCERS = 8

/**
 * Eight producers, each with one transaction after the other: a business row and a message. Relay,
 * broker and consumer share the machine.
 */
export async function sustained(effort: Effort): Promise<Table[]> {
  const { servers, peers, runs, seconds, size } = effort
  const [postgres, rabbit, redis] = await Promise.all([
    servers.postgres(),
    servers.rabbit(),
    peers ? servers.redis() : undefined,
  ])
  await makeTables(postgres.url)
  const candidate = (name: string, open: OpenPath, ordered = true): Candidate => ({
    name,
    run: () =>
      travel(
        { postgres, rabbit, redis, connections: PRODUCERS },
        { open, ordered, drive: producers(seconds), figures: behind },
      ),
  })
  const candidates = [
    candidate('commit, then publish and hope', commitThenPublish),
    candidate('Mersal, express lane', mersal({ express: true })),
    candidate('Mersal, express lane, one flight', mersal({ express: true, awaits: false })),
    candidate(
      'Mersal, express lane, one flight, no keys',
      mersal({ express: true, keyed: false, awaits: false }),
      false,
    ),
    candidate('Mersal, separate relay, one flight', mersal({ express: false, awaits: false })),
    ...(peers
      ? peerPaths(redis !== undefined).map(({ name, open }) => candidate(name, open, false))
      : []),
  ]
  const results = await interleave(candidates, runs, { warmUp: size !== 'tiny', only: effort.only })
  const title = `Delivered, ${PRODUCERS} producers, ${postgres.version}, ${rabbit.version}, classic queue`
  return [tableOf({ id: 'sustained', title, unit: 'messages/s' }, results)]
}

/**
 * The keys of one producer are its own, so that the order of its commits is the order of their
 * numbers.
 */
export function producers(seconds: number): Drive {
  return async (path, committed) => {
    const until = performance.now() + seconds * 1000
    const producer = async (first: number): Promise<void> => {
      for (let number = first; performance.now() < until; number += PRODUCERS)
        committed(number, await path.send(number))
    }
    await Promise.all(Array.from({ length: PRODUCERS }, (_, index) => producer(index + 1)))
  }
}

/** How long the last message came after the last commit. */
export function behind(times: readonly Times[]): Record<string, number> {
  const last = (of: keyof Times): number =>
    times.reduce((most, each) => Math.max(most, each[of]), 0)
  return { 'behind ms': last('arrived') - last('committed') }
}
