import { type Saga, type SagaPorts, handlerOf, timeoutHandlerOf } from '../../app/sagas/react.ts'
import { collectReactions } from '../../app/sagas/reactions.ts'
import { readState } from '../../app/sagas/state.ts'
import { type TimeoutBody, durationMs, timeoutType } from '../../app/sagas/timeouts.ts'
import type { SagaDuration, SagaReactions } from '../../app/sagas/types.ts'
import type { SagaType } from '../../app/sagas/definition.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Given } from '../../core/messages/given.ts'
import type { Envelope, MessageType } from '../../core/messages/message.ts'
import { jsonSerializer } from '../../core/messages/serializer.ts'
import { checkOptions } from '../../core/options.ts'
import { silentLogger } from '../../core/telemetry.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { manualClock } from '../manual-clock.ts'
import { createInstances } from './instances.ts'
import { type SagaMessage, createSending, travelled } from './sent.ts'

/** Options of `rehearse()`. */
export interface RehearsalOptions<Tx> {
  /** What the saga gets as `context.tx`. Default undefined. */
  readonly tx?: Tx
}

/** A saga without database, broker and waiting. Its time moves by `passes` alone. */
export interface SagaRehearsal<State> {
  /**
   * Hands a message to the saga and returns what it sent, without its timeouts. If it throws,
   * nothing has changed. Throws what the saga throws, `MERSAL_UNKNOWN_TYPE` for a type that it does
   * not list, `MERSAL_INVALID_BODY`, and `MERSAL_REJECTED` for what would become a dead letter.
   */
  receives<Body>(
    type: MessageType<'command' | 'event', Body>,
    body: Given<Body>,
  ): Promise<readonly SagaMessage[]>
  /** Lets so much time go by. Timeouts that are over fire in their order; returns what they sent. */
  passes(duration: SagaDuration): Promise<readonly SagaMessage[]>
  /** State of the instance with this key; undefined if there is none. */
  state(key: string): Promise<State | undefined>
  /** What the instance with this key waits for: names, and milliseconds until then. */
  timeouts(key: string): Readonly<Record<string, number>>
}

interface Due extends TimeoutBody {
  readonly at: number
}

/**
 * Tries a saga alone, with the function that `app.saga` gets. States and bodies pass through their
 * schemas and through JSON as they do in an app. Throws as `app.saga`.
 */
export function rehearse<State, Tx = unknown>(
  type: SagaType<State>,
  list: (on: SagaReactions<State, Tx>) => void,
  options: RehearsalOptions<Tx> = {},
): SagaRehearsal<State> {
  checkOptions('rehearse()', options, ['tx'])
  const call = `saga('${type.name}')`
  const saga = { type, reactions: collectReactions(call, list) } as unknown as Saga<undefined>
  return rehearsalOf<State>(saga, options.tx)
}

function rehearsalOf<State>(saga: Saga<undefined>, tx: unknown): SagaRehearsal<State> {
  const clock = manualClock()
  const instances = createInstances()
  const { store, current } = instances
  const ports: SagaPorts<undefined> = { app: 'rehearsal', store, logger: silentLogger, clock }
  let waiting: readonly Due[] = []
  const own = timeoutType(saga.type.name)

  /** Handles one message: everything that it changes, or nothing. */
  async function handle(
    given: MessageType,
    body: unknown,
    handler: ReturnType<typeof handlerOf<undefined>>,
  ): Promise<readonly SagaMessage[]> {
    const now = (): number => clock.now()
    const sending = createSending(envelopeOf(given, body, now()), tx, now)
    try {
      await handler(body, sending.context)
    } catch (error) {
      instances.undo()
      throw error
    }
    instances.keep()
    const isTimeout = ({ type }: SagaMessage): boolean => type === own.name
    const asked = sending.sent.filter(isTimeout).map(({ body: of, options }) => ({
      ...(of as TimeoutBody),
      at: clock.monotonic() + (options['delayMs'] as number),
    }))
    waiting = [...waiting, ...asked].filter(isWanted).toSorted((left, right) => left.at - right.at)
    for (const work of sending.afterwards) await work()
    return sending.sent.filter((message) => !isTimeout(message))
  }

  const isWanted = ({ key, instance, name, number }: Due): boolean => {
    const kept = current.get(key)
    return kept?.id === instance && numbersOf(kept.timeouts)[name] === number
  }

  async function fire(due: Due): Promise<readonly SagaMessage[]> {
    const { at: _, ...body } = due
    waiting = waiting.filter((other) => other !== due)
    return handle(own, body, timeoutHandlerOf(ports, saga) as never)
  }

  return {
    async receives(given, body) {
      const reaction = saga.reactions.messages.find(({ type }) => type.name === given?.name)
      if (reaction === undefined) throw unlisted(saga, given)
      const received = await travelled(reaction.type, body)
      return handle(reaction.type, received, handlerOf(ports, saga, reaction))
    },
    async passes(duration) {
      const until = clock.monotonic() + durationMs('passes()', duration)
      const sent: SagaMessage[] = []
      for (let next = waiting[0]; next !== undefined && next.at <= until; next = waiting[0]) {
        await clock.advance(Math.max(0, next.at - clock.monotonic()))
        sent.push(...(await fire(next)))
      }
      await clock.advance(until - clock.monotonic())
      return sent
    },
    async state(key) {
      const kept = current.get(key)
      return kept === undefined ? undefined : ((await readState(saga.type, kept)) as State)
    },
    timeouts: (key) =>
      Object.fromEntries(
        waiting
          .filter((due) => due.key === key)
          .map(({ name, at }) => [name, at - clock.monotonic()]),
      ),
  }
}

const numbersOf = (timeouts: string): Readonly<Record<string, number>> =>
  (JSON.parse(timeouts) as { readonly numbers: Readonly<Record<string, number>> }).numbers

function envelopeOf(type: MessageType, body: unknown, now: number): Envelope {
  return { id: uuidv7(now), type: type.name, headers: {}, body: jsonSerializer.encode(body) }
}

const unlisted = ({ type }: Saga<undefined>, given: MessageType): MersalError =>
  new MersalError(
    'MERSAL_UNKNOWN_TYPE',
    `the saga '${type.name}' lists no message '${given?.name}': add on() or on.start() for it`,
  )
