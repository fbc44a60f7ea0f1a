import type { Message, Options } from 'amqplib'
import type { PublishOutcome } from '../../../core/transport.ts'
import { copyProperties, type HeaderTable, ownHeaders } from '../publish/envelope.ts'

const SHORT_ERROR = 200

/**
 * Properties of a copy, each with less than those before, for a connection whose frames are small:
 * without the history; for a dead letter, with a short error, and then without the headers that it
 * came with. The bytes of the body stay in any case.
 */
export function* slimmer(
  message: Message,
  { headers, dead }: { readonly headers: HeaderTable; readonly dead: boolean },
): Generator<Options.Publish> {
  yield copyProperties(message, headers)
  const { [ownHeaders.history]: _, ...rest } = headers
  yield copyProperties(message, rest)
  if (!dead) return
  const error = rest[ownHeaders.error]
  const short = {
    ...rest,
    [ownHeaders.error]: typeof error === 'string' ? error.slice(0, SHORT_ERROR) : '',
  }
  yield copyProperties(message, short)
  yield { ...copyProperties(message, short), headers: short }
}

/** It was not written, because its headers do not fit into one frame. */
export function doesNotFit(outcome: PublishOutcome): boolean {
  if (outcome.kind !== 'refused' || outcome.reason !== 'too-large') return false
  return (
    (outcome.error as { readonly details?: { readonly part?: unknown } }).details?.part ===
    'headers'
  )
}
