import { MersalError } from '../../core/errors/errors.ts'
import type { MessageType } from '../../core/messages/message.ts'
import type { Step } from '../../core/pipeline.ts'
import { compose } from '../compose.ts'
import type { Handler, HandlerContext } from '../types.ts'

/** One call of a handler, as the steps around it see it. */
export interface HandlingContext<Tx> {
  readonly type: MessageType
  /** What the handler gets; may be replaced by a step. */
  body: unknown
  /** The context of the handler: its transaction, the message, and the ways to send. */
  readonly handler: HandlerContext<Tx>
}

/**
 * A step around each handler, inside its transaction. What it writes through `handler.tx` and what
 * it sends is committed with the handler, or rolled back with it.
 */
export type HandlingStep<Tx> = Step<HandlingContext<Tx>, void>

/** Puts the steps around a handler, from the outside in. */
export function withSteps<Tx>(
  steps: readonly HandlingStep<Tx>[],
  type: MessageType,
  handler: Handler<unknown, Tx>,
): Handler<unknown, Tx> {
  if (steps.length === 0) return handler
  const run = compose<HandlingContext<Tx>, void>(steps.map(awaiting), async (context) => {
    await handler(context.body, context.handler)
  })
  return (body, context) => run({ type, body, handler: context })
}

/** A step that ends before what it has called would let a commit overtake the handler. */
function awaiting<Tx>(step: HandlingStep<Tx>): HandlingStep<Tx> {
  return {
    name: step.name,
    async run(context, next) {
      let running = 0
      await step.run(context, async () => {
        running++
        try {
          await next()
        } finally {
          running--
        }
      })
      if (running > 0) {
        const text = `the step '${step.name}' in 'handling' ended before the handler: await next()`
        throw new MersalError('MERSAL_NOT_AWAITED', text)
      }
    },
  }
}
