import { setTimeout as sleep } from 'node:timers/promises'
import { toError } from '../../lib/async/abort.ts'
import { describeError } from '../../operate/describe-error.ts'
import type { Proof, ProofPlace } from '../../testing/proof.ts'
import { type Failure, isUndone, type Trouble } from '../plan.ts'
import { numbersOf } from './place.ts'
import { acting } from './trouble.ts'

interface Task {
  readonly proof: Proof & { readonly actions: number }
  readonly app: unknown
  readonly place: ProofPlace
  readonly trouble: Trouble | undefined
}

/** Actions at a time; one where an order is to be kept, or actions are to be told apart. */
const LANES = 3
const TRIES = 3
const PAUSE_MS = 200

/** Makes every action whose rows are not there yet. Resolves to those that could not be made. */
export async function actions(task: Task): Promise<readonly Failure[]> {
  const { proof, place } = task
  const there = new Set(await numbersOf('rows', proof.rows, place))
  const open = Array.from({ length: proof.actions }, (_, index) => index + 1)
  const left = open.filter((n) => !there.has(n))
  const failures: Failure[] = []
  const lane = async (): Promise<void> => {
    for (let n = left.shift(); n !== undefined; n = left.shift()) {
      const failure = await action(task, n)
      if (failure !== undefined) failures.push({ n, error: failure })
    }
  }
  const isAlone = proof.keyOf !== undefined || task.trouble === 'undo'
  const lanes = isAlone ? 1 : LANES
  await Promise.all(Array.from({ length: lanes }, lane))
  return failures
}

/** Undefined: its rows are there, or were taken back as planned. */
async function action(
  { proof, app, place, trouble }: Task,
  n: number,
): Promise<string | undefined> {
  let failure: string | undefined
  for (let tries = 0; tries < TRIES; tries += 1) {
    try {
      await acting({ n, trouble }, () => proof.act(app, n, place))
      return undefined
    } catch (thrown) {
      if (trouble === 'undo' && isUndone(n)) return undefined
      failure = describeError(toError(thrown))
    }
    await sleep(PAUSE_MS)
    // It may have happened all the same: then only its answer was lost.
    if ((await numbersOf('rows', proof.rows, place)).includes(n)) return failure
  }
  return failure
}
