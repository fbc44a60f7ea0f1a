import { type Saga, type SagaPorts, handlerOf, timeoutHandlerOf } from '../../app/sagas/react.ts'
import { collectReactions } from '../../app/sagas/reactions.ts'
import { readState } from '../../app/sagas/state.ts'
import { durationMs, timeoutType } from '../../app/sagas/timeouts.ts'
import type { SagaDuration, SagaReactions } from '../../app/sagas/types.ts'
import { checkSaga, type SagaType, timeoutName } from '../../app/sagas/definition.ts'
import type { Handler } from '../../app/types.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Given } from '../../core/messages/given.ts'
import type { Envelope, MessageType } from '../../core/messages/message.ts'
import { jsonSerializer } from '../../core/messages/serializer.ts'
import { checkOptions, invalidOption } from '../../core/options.ts'
import { silentLogger } from '../../core/telemetry.ts'
import { Mutex } from '../../lib/async/mutex.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { type ManualClock, manualClock } from '../manual-clock.ts'
import { createInstances, type Instances } from './instances.ts'
import { type SagaMessage, createSending, travelled } from './sent.ts'
import { createWaiting, type Waiting } from './waiting.ts'

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
   * not list, `MERSAL_INVALID_BODY`, and `MERSAL_REJECTED` for what would become a dead letter. Work
   * of `afterCommit` comes last: if that throws, everything else has changed.
   */
  receives<Body>(
    type: MessageType<'command' | 'event', Body>,
    body: Given<Body>,
  ): Promise<readonly SagaMessage[]>
  /** Moves the time on. Timeouts that are over fire in their order; returns what they sent. */
  passes(duration: SagaDuration): Promise<readonly SagaMessage[]>
  /** State of the instance with this key; undefined if there is none. */
  state(key: string): Promise<State | undefined>
  /** What the instance with this key waits for: names, and milliseconds until then. */
  timeouts(key: string): Readonly<Record<string, number>>
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
  checkSaga('rehearse()', type)
  const call = `saga('${type.name}')`
  const saga = { type, reactions: collectReactions(call, list) } as unknown as Saga<undefined>
  return rehearsalOf<State>(saga, options.tx)
}

/** A saga with its instances in memory, and a clock that stands still. */
interface Scene {
  readonly saga: Saga<undefined>
  readonly ports: SagaPorts<undefined>
  readonly tx: unknown
  readonly clock: ManualClock
  readonly instances: Instances
  readonly waiting: Waiting
  /** Messages are handled one after the other. */
  readonly turns: Mutex
}

function rehearsalOf<State>(saga: Saga<undefined>, tx: unknown): SagaRehearsal<State> {
  const clock = manualClock()
  const instances = createInstances()
  const { store, current } = instances
  const ports: SagaPorts<undefined> = { app: 'rehearsal', store, logger: silentLogger, clock }
  const waiting = createWaiting(current)
  const turns = new Mutex()
  const scene: Scene = { saga, ports, tx, clock, instances, waiting, turns }
  return {
    async receives(given, body) {
      const reaction = saga.reactions.messages.find(({ type }) => type.name === given?.name)
      if (reaction === undefined) throw unlisted(saga, given)
      const received = await travelled(reaction.type, body)
      return handle(scene, reaction.type, received, handlerOf(ports, saga, reaction))
    },
    passes: async (duration) => pass(scene, durationMs('passes()', duration)),
    async state(key) {
      const kept = current.get(key)
      return kept === undefined ? undefined : ((await readState(saga.type, kept)) as State)
    },
    timeouts: (key) => waiting.of(key, clock.monotonic()),
  }
}

/** Handles one message: everything that it changes, or nothing. */
async function handle(
  { saga, tx, clock, instances, waiting, turns }: Scene,
  type: MessageType,
  body: unknown,
  handler: Handler<unknown, undefined>,
): Promise<readonly SagaMessage[]> {
  const isTimeout = (message: SagaMessage): boolean => message.type === timeoutName(saga.type.name)
  const sending = createSending(envelopeOf(type, body, clock.now()), tx, clock)
  const sent = await turns.run(async () => {
    try {
      const messages = await sending.run((context) => handler(body, context))
      instances.keep()
      waiting.add(messages.filter(isTimeout), clock.monotonic())
      return messages
    } catch (error) {
      instances.undo()
      throw error
    }
  })
  for (const work of sending.afterwards) await work()
  return sent.filter((message) => !isTimeout(message))
}

const MOST_AT_ONCE = 10_000
const ENDLESS = `${MOST_AT_ONCE} timeouts fired without any time between them: give those that a timeout asks for a duration`

async function pass(scene: Scene, ms: number): Promise<readonly SagaMessage[]> {
  const { saga, ports, clock, waiting } = scene
  const until = clock.monotonic() + ms
  const handler = timeoutHandlerOf(ports, saga) as Handler<unknown, undefined>
  const sent: SagaMessage[] = []
  let atOnce = 0
  for (let next = waiting.next(until); next !== undefined; next = waiting.next(until)) {
    const { at, ...body } = next
    atOnce = at > clock.monotonic() ? 0 : atOnce + 1
    if (atOnce > MOST_AT_ONCE) throw invalidOption('passes()', ENDLESS)
    await clock.advance(Math.max(0, at - clock.monotonic()))
    sent.push(...(await handle(scene, timeoutType(saga.type.name), body, handler)))
  }
  await clock.advance(until - clock.monotonic())
  return sent
}

function envelopeOf(type: MessageType, body: unknown, now: number): Envelope {
  return { id: uuidv7(now), type: type.name, headers: {}, body: jsonSerializer.encode(body) }
}

const unlisted = ({ type }: Saga<undefined>, given: MessageType): MersalError =>
  new MersalError(
    'MERSAL_UNKNOWN_TYPE',
    `the saga '${type.name}' lists no message '${given?.name}': add on() or on.start() for it`,
  )
