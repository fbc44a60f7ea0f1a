/** Configuration of `mersal` in a cell. */
import { defineConfig } from '../../src/cli/index.ts'
import { openBroker } from './brokers/open.ts'
import { openDesk } from './desks/open.ts'
import { relay, type WorkerPlan } from './plan.ts'
import { notingUnknowns } from './unknowns.ts'

export default defineConfig(async () => {
  const plan = JSON.parse(process.env['CRASH_MATRIX_PLAN'] ?? '') as WorkerPlan
  const { kind, options } = plan
  const desk = await openDesk(plan, { migrate: 'check', program: true })
  const transport = kind.road === 'straight' ? desk.queue() : await openBroker(plan)
  return {
    name: plan.name,
    store: desk.store,
    transport: notingUnknowns(transport, process.cwd()),
    relay: relay(options),
    close: () => desk.close(),
  }
})
