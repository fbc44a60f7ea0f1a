import { kafkaProblem, openPrivateKafka } from '../../scripts/servers/kafka.ts'
import type { BenchServer } from '../server.ts'

/** Undefined where there is neither a Kafka nor what fetches one; then a line says so. */
export async function startKafka(stack: AsyncDisposableStack): Promise<BenchServer | undefined> {
  const problem = kafkaProblem()
  if (problem !== undefined) {
    process.stderr.write(`no section of Kafka: ${problem}\n`)
    return undefined
  }
  const broker = stack.use(
    await openPrivateKafka({ config: ['group.initial.rebalance.delay.ms=0'] }),
  )
  return { url: broker.server, version: `Kafka ${broker.version}`, pid: broker.pid() }
}
