import { kafkaProblem, openPrivateKafka, type PrivateKafka } from '../../scripts/servers/kafka.ts'
import { isPresent } from '../../scripts/servers/present.ts'

export { openPrivateKafka, type PrivateKafka } from '../../scripts/servers/kafka.ts'

/**
 * False, said loudly, when there is no Kafka here; with CI=true that is a failure instead. `any`: a
 * broker that is given will do; `private`: it is to be killed.
 */
export function kafkaIsHere(which: 'any' | 'private' = 'private'): boolean {
  const isGiven = which === 'any' && process.env['MERSAL_TEST_KAFKA_URL'] !== undefined
  return isGiven || isPresent(kafkaProblem())
}

/** A broker for tests that end nothing: the one of `MERSAL_TEST_KAFKA_URL`, or a private one. */
export async function openKafka(): Promise<Pick<PrivateKafka, 'server'> & AsyncDisposable> {
  const server = process.env['MERSAL_TEST_KAFKA_URL']
  if (server === undefined) return openPrivateKafka()
  return { server, [Symbol.asyncDispose]: () => Promise.resolve() }
}
