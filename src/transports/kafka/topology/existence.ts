import { createTopicsV7 } from '@platformatic/kafka'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Cluster } from '../connection/cluster.ts'
import { codes, codesIn } from '../connection/faults.ts'

const LONGEST_MS = 5000

/** What a controller answers that would otherwise make the topic: so there is none. */
const wouldMake: ReadonlySet<number> = new Set([
  codes.invalidPartitions,
  codes.invalidReplicationFactor,
  codes.invalidConfig,
  codes.policyViolation,
])

/** Throws if the topic may exist, although the broker does not know it. */
export async function checkAbsent(cluster: Cluster, name: string): Promise<void> {
  if (await mayExist(cluster, name))
    throw new MersalError('MERSAL_UNAVAILABLE', `the broker does not know '${name}' yet`)
}

/**
 * Whether a topic exists that the broker does not know. A broker that has just started may not know
 * all of them; the controller does, and it answers so to whoever asks what would come of making the
 * topic. Nothing is made. Without the right to ask, the broker counts when it has been there for a
 * while.
 */
export async function mayExist(cluster: Cluster, name: string): Promise<boolean> {
  const topic = { name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }
  try {
    await cluster.ask(createTopicsV7.api, [topic], LONGEST_MS, true)
    return false
  } catch (error) {
    const found = codesIn(error)
    if (found.includes(codes.topicExists)) return true
    if (found.some((code) => wouldMake.has(code))) return false
    if (found.includes(codes.topicAuthorization) || found.includes(codes.clusterAuthorization))
      return cluster.isSettling
    throw error
  }
}
