/** One process: `node worker.ts '<Plan as JSON>'`, with a channel to the harness. */
import type { Plan, Report } from './plan.ts'
import { relay } from './relay.ts'
import { writer } from './writer.ts'

const plan = JSON.parse(process.argv[2] ?? '') as Plan
// Nobody is left to hear from it, or to end it.
process.on('disconnect', () => process.exit(1))
if (plan.role === 'relay') await relay(plan)
else {
  const written = await writer(plan)
  await new Promise((resolve) =>
    process.send?.({ kind: 'written', ...written } satisfies Report, resolve),
  )
}
// Whatever the handles still hold open, this process has done its work.
process.exit(0)
