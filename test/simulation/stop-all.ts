import type { Process } from './process.ts'
import type { Scheduler } from './scheduler.ts'

interface Running {
  readonly scheduler: Scheduler
  readonly processes: readonly Process[]
}

/**
 * Everybody stops: within the grace, with everything settled, and without leaving a timer. To stand
 * still is a fault too, so that whoever does wakes up before: it may learn only then that an answer
 * was lost, and that its claim is over.
 */
export async function stopAll({ scheduler, processes }: Running): Promise<string[]> {
  const found: string[] = []
  const awake = Math.max(scheduler.now, ...processes.map(({ owner }) => owner.pausedUntil)) + 20
  await scheduler.run(awake, () => false)
  let open = processes.length
  for (const { owner, relay } of processes) {
    void relay.stop({ graceMs: 5000 }).then((clean) => {
      open--
      if (!clean) found.push(`stop: ${owner.name} stopped with something unsettled`)
    })
  }
  await scheduler.run(scheduler.now + 10_000, () => open === 0)
  if (open > 0) found.push(`stop: ${open} relays did not stop`)
  for (const { owner } of processes) {
    const left = scheduler.waitingFor(owner)
    if (left > 0) found.push(`stop: ${owner.name} left ${left} timers`)
  }
  return found
}
