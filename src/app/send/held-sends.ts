import { MersalError } from '../../core/errors/errors.ts'
import { isReply, type OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome, Transport } from '../../core/transport.ts'
import { publishTraced } from '../../core/traced.ts'
import { throwUnlessConfirmed } from './send-calls.ts'

type Transports = ReadonlyMap<string, Transport>

interface HeldPorts {
  /** Name of the app. */
  readonly name: string
  readonly transports: Transports
}

/**
 * Publishes what a handler of an app without an outbox has sent. Of one key, a message goes only
 * after the one before it was confirmed. Throws the first failure, as a direct send does. Some of
 * the messages may have been published then, and no publish of this call is still in progress.
 */
export async function publishHeld(
  ports: HeldPorts,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal,
): Promise<void> {
  for (const wave of waves(ports.transports, messages)) {
    signal.throwIfAborted()
    const answers = publishAll(ports, wave, signal)
    for (const [message, answer] of await Promise.all(answers))
      if (!isUnwanted(message, answer)) throwUnlessConfirmed(message, answer)
  }
}

/** A reply whose asker has gone must not fail the handler. */
const isUnwanted = (message: OutgoingMessage, answer: PublishOutcome): boolean =>
  isReply(message) && answer.kind === 'refused' && answer.reason === 'unroutable'

/**
 * Groups of messages that may be published at the same time: at most one of each key, or all of a
 * key where the transport keeps their order.
 */
function waves(transports: Transports, messages: readonly OutgoingMessage[]): OutgoingMessage[][] {
  const made: OutgoingMessage[][] = []
  const last = new Map<string, { readonly transport: string; readonly wave: number }>()
  for (const message of messages) {
    const { partitionKey, to } = message
    const before = partitionKey === undefined ? undefined : last.get(partitionKey)
    const inOrder =
      before?.transport === to.transport &&
      transports.get(to.transport)?.features.ordering === 'per-key'
    const wave = before === undefined ? 0 : before.wave + (inOrder ? 0 : 1)
    if (partitionKey !== undefined) last.set(partitionKey, { transport: to.transport, wave })
    ;(made[wave] ??= []).push(message)
  }
  return made
}

type Answered = readonly [message: OutgoingMessage, outcome: PublishOutcome]

function publishAll(
  { name: app, transports }: HeldPorts,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal,
): Promise<Answered>[] {
  const names = [...new Set(messages.map(({ to }) => to.transport))]
  return names.flatMap((name) => {
    const here = messages.filter(({ to }) => to.transport === name)
    const transport = transports.get(name) as Transport
    const answers = publishTraced({ app, by: 'app' }, transport, here, { signal })
    return here.map(
      async (message, index): Promise<Answered> => [message, (await answers[index]) ?? noAnswer()],
    )
  })
}

function noAnswer(): PublishOutcome {
  return {
    kind: 'unknown',
    error: new MersalError('MERSAL_UNKNOWN_OUTCOME', 'the transport gave no answer'),
  }
}
