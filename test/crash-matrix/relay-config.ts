/** Configuration of `mersal` in a cell. */
import { defineConfig } from '../../src/cli/index.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { openDesk } from './desks/open.ts'
import { relay, type WorkerPlan } from './plan.ts'
import { notingUnknowns } from './unknowns.ts'

export default defineConfig(() => {
  const plan = JSON.parse(process.env['CRASH_MATRIX_PLAN'] ?? '') as WorkerPlan
  const { kind, broker, exchange, options } = plan
  const desk = openDesk(plan, { migrate: 'check', program: true })
  const transport =
    kind.road === 'straight'
      ? desk.queue()
      : rabbitmq({ url: broker, eventsExchange: exchange, newQueuePauseMs: 0, logger: false })
  return {
    name: plan.name,
    store: desk.store,
    transport: notingUnknowns(transport, process.cwd()),
    relay: relay(options),
    close: () => desk.close(),
  }
})
