import { MersalError } from '../core/errors/errors.ts'
import type { Step } from '../core/pipeline.ts'

/**
 * Runs the steps from the outside in, each around the rest, with `last` in the middle. Nothing is
 * awaited between the steps, so that a pipeline without waiting steps runs in the same tick.
 */
export function compose<Context, Result>(
  steps: readonly Step<Context, Result>[],
  last: (context: Context) => Promise<Result>,
): (context: Context) => Promise<Result> {
  return steps.reduceRight<(context: Context) => Promise<Result>>(
    (rest, step) => (context) => runStep(step, context, rest),
    last,
  )
}

function runStep<Context, Result>(
  step: Step<Context, Result>,
  context: Context,
  rest: (context: Context) => Promise<Result>,
): Promise<Result> {
  let called = false
  return step.run(context, async () => {
    if (called)
      throw new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `the pipeline step '${step.name}' called next() twice`,
      )
    called = true
    return rest(context)
  })
}
