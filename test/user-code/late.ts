import { AsyncLocalStorage } from 'node:async_hooks'
import { Happened } from './happened.ts'
import type { Here } from './here.ts'
import type { Step } from './program.ts'
import type { Trace } from './trace.ts'

type LateStep = Extract<Step, { kind: 'late' }>

/**
 * After the end of the unit; outside of its asynchronous context, as a timer of somebody else would
 * be, or inside.
 */
export function later<Tx>(step: LateStep, here: Here<Tx>): Trace['late'][number] {
  const { what, tag } = step
  const run = async (): Promise<void> => {
    if (await taken(step, here)) here.trace.accepted.push(`${what} ${tag}`)
  }
  return {
    neighbour: step.neighbour ? `${tag}n` : undefined,
    run: AsyncLocalStorage.bind(() => run().catch(() => {})),
  }
}

/** Whether anybody took it. Rejects if it was refused. */
async function taken<Tx>(
  { what, tag }: LateStep,
  { app, library, whole, sender }: Here<Tx>,
): Promise<boolean> {
  let ran = false
  const work = async (): Promise<void> => void (ran = true)
  switch (what) {
    case 'row':
      await library.insert(whole, tag)
      return true
    case 'message':
      await (sender ?? app).publish(Happened, { tag })
      return true
    case 'within':
      await app.within(whole).publish(Happened, { tag })
      return true
    case 'join':
      if (sender !== undefined) await app.transaction(work, { join: sender }).catch(() => {})
      return ran
    case 'savepoint':
      await sender?.savepoint(work).catch(() => {})
      return ran
    case 'after commit':
      sender?.afterCommit(work)
      return true
    default:
      return what satisfies never
  }
}
