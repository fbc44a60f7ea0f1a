/** Configuration of `mersal` in a cell. */
import { defineConfig } from '../../src/cli/index.ts'
import { openBroker } from './brokers/open.ts'
import { openDesk } from './desks/open.ts'
import { relay, type WorkerPlan } from './plan.ts'
import { hasty, notingUnknowns } from './unknowns.ts'

export default defineConfig(async () => {
  const plan = JSON.parse(process.env['CRASH_MATRIX_PLAN'] ?? '') as WorkerPlan
  const { kind, bug } = plan
  const desk = await openDesk(plan, { migrate: 'check', program: true })
  const opened = kind.road === 'straight' ? desk.queue() : await openBroker(plan)
  const transport = bug === 'settle before confirm' ? hasty(opened) : opened
  return {
    name: plan.name,
    store: desk.store,
    transport: notingUnknowns(transport, process.cwd()),
    relay: relay(plan),
    close: () => desk.close(),
  }
})
