import { MersalError } from '../../../core/errors/errors.ts'
import type { Describe } from '../../shared/describe.ts'
import type { BrokerClient } from '../../shared/link.ts'
import type { KafkaSettings } from '../options.ts'
import { Cluster, type KafkaLink } from './cluster.ts'
import { mistakeOf } from './faults.ts'

/** The client of Kafka, as a link needs it. */
export function kafkaClient(settings: KafkaSettings, describe: Describe): BrokerClient<Cluster> {
  const seen = new Set<string>()
  return {
    async open() {
      const cluster = new Cluster(settings, seen)
      try {
        return await cluster.connect()
      } catch (error) {
        cluster.destroy()
        throw error
      }
    },
    watch: (cluster, events) => cluster.watch((problem) => events.lost(problem)),
    close: (cluster) => Promise.resolve(cluster.destroy()),
    destroy: (cluster) => cluster.destroy(),
    mistakeIn: (error) => mistakeOf(error, describe),
  }
}

/**
 * Asks the cluster. Rejects with `MERSAL_UNAVAILABLE` when it does not answer, else with the
 * mistake, or with what `known` makes of the error.
 */
export async function asked<Result>(
  link: KafkaLink,
  describe: Describe,
  doing: string,
  question: (cluster: Cluster) => Promise<Result>,
): Promise<Result> {
  const { connection } = await link.connection()
  try {
    return await question(connection)
  } catch (error) {
    if (error instanceof MersalError) throw error
    throw (
      mistakeOf(error, describe) ??
      new MersalError('MERSAL_UNAVAILABLE', `${doing} failed: ${describe(error)}`)
    )
  }
}
