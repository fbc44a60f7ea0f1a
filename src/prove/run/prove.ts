import type { CrashPoint } from '../../testing/crash-points.ts'
import { describeError } from '../../operate/describe-error.ts'
import { toError } from '../../lib/async/abort.ts'
import { type Case, cleanCase, pointCases, troubleCases } from './cases.ts'
import { type Ground, type Outcome, runTrial, type Trial } from './trial.ts'
import { type Finding, type PromiseName, promiseNames } from './verdict.ts'

/** What became of one row of the table. */
export type Result = Case & { readonly seconds: number } & (
    | {
        readonly kind: 'kept' | 'broken'
        readonly findings: readonly Finding[]
        readonly asked: readonly PromiseName[]
      }
    | { readonly kind: 'not reached' }
    | { readonly kind: 'failed'; readonly error: string }
  )

export interface ProveOptions {
  readonly ground: Ground
  /** Names of cases; undefined: all. */
  readonly only: ReadonlySet<string> | undefined
  /** Trials at a time. */
  readonly jobs: number
  readonly onResult: (result: Result) => void
}

/** Runs every trial. The clean one comes first: without it no other one says anything. */
export async function prove({
  ground,
  only,
  jobs,
  onResult,
}: ProveOptions): Promise<readonly Result[]> {
  const results: Result[] = []
  const add = (result: Result): void => {
    results.push(result)
    onResult(result)
  }
  const began = performance.now()
  let clean: Outcome
  try {
    clean = await runTrial(ground, {})
  } catch (thrown) {
    ground.signal.throwIfAborted()
    add(failure(cleanCase, thrown, began))
    return results
  }
  add(resultOf(cleanCase, clean))
  // Everything that needs more than a clean run would only say the same again.
  if (clean.findings.length > 0) return results
  const left = [...troubleCases, ...pointCases].filter(({ name }) => only?.has(name) ?? true)
  const lane = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift())
      add(await attempt(ground, one, clean))
  }
  await Promise.all(Array.from({ length: jobs }, lane))
  return results
}

async function attempt(ground: Ground, one: Case, clean: Outcome): Promise<Result> {
  const began = performance.now()
  try {
    if (one.point === undefined)
      return resultOf(
        one,
        await runTrial(ground, one.trouble === undefined ? {} : { trouble: one.trouble }),
      )
    for (const trial of trialsOf(one.point, clean)) {
      const outcome = await runTrial(ground, trial)
      if (outcome.happened || outcome.findings.length > 0) return resultOf(one, outcome)
    }
    return { ...one, kind: 'not reached', seconds: (performance.now() - began) / 1000 }
  } catch (thrown) {
    ground.signal.throwIfAborted()
    return failure(one, thrown, began)
  }
}

/**
 * The ways to a point, the best first: with actions before and after it; at once; or with the
 * messages of a process that was killed before.
 */
function trialsOf(point: CrashPoint, { reached }: Outcome): readonly Trial[] {
  const times = reached.get(point) ?? 0
  const once = { arm: { point, nth: 1 } }
  const [before] = (['P6', 'C5'] as const).filter((one) => reached.has(one))
  if (times > 3) return [{ arm: { point, nth: 3 } }, once]
  if (times > 0) return [once]
  if (before === undefined || !point.startsWith('R')) return []
  return [{ arm: { point: before, nth: 3 }, again: { point, nth: 1, early: true } }]
}

function failure(one: Case, thrown: unknown, began: number): Result {
  const seconds = (performance.now() - began) / 1000
  return { ...one, kind: 'failed', error: describeError(toError(thrown)), seconds }
}

function resultOf(one: Case, { happened, findings, ordered, seconds }: Outcome): Result {
  // What was found counts, whether or not the crash came.
  if (!happened && findings.length === 0) return { ...one, kind: 'not reached', seconds }
  const asked = promiseNames.filter((name) => name !== 'order' || ordered)
  return { ...one, kind: findings.length === 0 ? 'kept' : 'broken', findings, asked, seconds }
}
