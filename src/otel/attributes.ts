import type { Attributes } from '@opentelemetry/api'
import { errorCode } from '../core/errors/error-text.ts'
import { type Envelope, headerNames } from '../core/messages/message.ts'
import { lastingName } from '../core/messages/reply-queues.ts'
import type { Operations } from '../core/traced.ts'

/** `name` and `type` of an operation in the words of the conventions for messaging. */
export type Operation = 'create' | 'send' | 'process'

/** Attributes that metrics have as well, of an operation on a destination. */
export function common(system: string, operation: Operation, destination: string): Attributes {
  return {
    'messaging.system': system,
    'messaging.operation.name': operation,
    'messaging.operation.type': operation,
    'messaging.destination.name': destination,
  }
}

/** Of one message. Its body is only measured. */
export function ofMessage({ id, type, headers, body }: Envelope): Attributes {
  const correlation = headers[headerNames.correlationId]
  return {
    'messaging.message.id': id,
    'messaging.message.body.size': body.byteLength,
    'mersal.message.type': type,
    ...(correlation === undefined ? {} : { 'messaging.message.conversation_id': correlation }),
  }
}

/** Class of an error: its code, or its name. */
export function errorType(error: unknown, otherwise = '_OTHER'): string {
  const code = errorCode(error)
  return code === 'none' ? otherwise : code
}

/**
 * The class of what went wrong with a delivery. Undefined: nothing did. A wish of the handler is no
 * failure.
 */
export function deliveryFailure({
  outcome = '_OTHER',
  failure,
  error,
}: Operations['receive']): string | undefined {
  const thrown = failure ?? error
  if (thrown === undefined || outcome === 'postponed') return undefined
  return errorType(thrown, outcome)
}

/** Most values that metrics name one by one: whoever collects them pays for each. */
const MOST_NAMED = 100

/** Names the first ones one by one, such as destinations, and all later ones `other`. */
export function boundedNames(): (name: string) => string {
  const known = new Set<string>()
  return (given) => {
    const name = lastingName(given)
    if (known.has(name)) return name
    if (known.size >= MOST_NAMED) return 'other'
    known.add(name)
    return name
  }
}
