import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOptions, PublishOutcome } from '../../core/transport.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { partsOf } from '../../sql/parts.ts'
import { publishCall } from '../queues/publish-call.ts'
import { unstorable } from '../queues/unstorable.ts'
import {
  confirmed,
  heldBack,
  keyOrder,
  unavailable,
  unknown,
  unroutable,
  withdrawn,
} from '../shared/outcomes.ts'
import type { OwnQueues } from '../shared/own-queues.ts'
import { within } from '../shared/within.ts'
import { shortfallOf } from './confirm.ts'
import { type RedisLink, run, type Server } from './connection.ts'
import { faultOfServer, isDemotion, isReply, wasNotSent } from './faults.ts'
import type { RedisSettings } from './options.ts'
import { scripts } from './scripts.ts'

/** Of one script: the server does nothing else meanwhile. */
const PART = { messages: 100, bytes: 1024 * 1024 }

export interface PublisherParts {
  readonly link: RedisLink
  readonly own: OwnQueues
  readonly settings: RedisSettings
  readonly prefix: string
  readonly safety: Safety
}

/** What is known of the copies that `confirm` wants, over all connections. */
export interface Safety {
  /** What was stored last was not confirmed: not on the disk, or on too few replicas. */
  short: boolean
}

/**
 * Writes the messages of the call in parts, one after the other: so nothing of a key is stored
 * behind a message that was not. Never rejects.
 */
export function publishAll(
  parts: PublisherParts,
  messages: readonly OutgoingMessage[],
  { signal, withdraw }: PublishOptions = {},
): readonly Promise<PublishOutcome>[] {
  const { link, settings } = parts
  const ports = {
    clock: systemClock,
    maxMessageBytes: settings.maxMessageBytes,
    parts: (all: readonly OutgoingMessage[]) => partsOf(all, PART.messages, PART.bytes),
    ready: async () => {
      if (link.down !== undefined) throw link.down
      await link.connection()
    },
    unstorable: (message: OutgoingMessage) => unstorable(message, { takesNul: true }),
    put: (some: readonly OutgoingMessage[], written: () => void) =>
      withdraw?.aborted === true ? Promise.resolve(some.map(withdrawn)) : put(parts, some, written),
    isFaultOfContent: () => false,
  }
  return publishCall(ports, messages, signal).map(async (answer) => withBack(link, await answer))
}

function withBack(link: RedisLink, outcome: PublishOutcome): PublishOutcome {
  const { back } = link
  return outcome.kind === 'unavailable' && back !== undefined && outcome.back === undefined
    ? { ...outcome, back }
    : outcome
}

function argumentsOf(message: OutgoingMessage): (string | Uint8Array)[] {
  const { to, partitionKey = '', id, type, headers, body } = message
  const kind = to.kind === 'queue' ? 'q' : 't'
  return [kind, to.name, partitionKey, id, type, JSON.stringify(headers), body]
}

async function put(
  parts: PublisherParts,
  messages: readonly OutgoingMessage[],
  written: () => void,
): Promise<readonly PublishOutcome[]> {
  const { link, settings } = parts
  const { connection } = await link.connection()
  const discard = settings.eventsWithoutSubscribers === 'discard' ? '1' : ''
  const args = [discard, ...messages.flatMap(argumentsOf)]
  const timely = <Result>(work: Promise<Result>): Promise<Result> =>
    within(systemClock, settings.confirmTimeoutMs, 'Redis', work)
  let sent = false
  try {
    const lack = await timely(lackBefore(parts, connection))
    if (lack !== undefined)
      return messages.map(() => unavailable(`Redis did not store it: ${lack}`))
    sent = true
    const { answers, shortfall } = await timely(storeAndConfirm(parts, connection, args))
    return outcomesOf(parts, messages, answers.map(String), shortfall)
  } catch (error) {
    if (isDemotion(error) || !isReply(error)) connection.client.destroy()
    // The server has refused the whole script before it wrote anything, or was not asked.
    if (!sent || isReply(error) || wasNotSent(error))
      return messages.map(() => unavailable(`Redis: ${faultOfServer(error)}`, error))
    written()
    const text = 'Redis: no answer came after the messages were written'
    throw new MersalError('MERSAL_UNKNOWN_OUTCOME', text, { cause: error })
  }
}

/**
 * P6: while nothing is confirmed, each try would leave one more copy. So it is asked first. Calls
 * that were under way when the outage began make their one copy each.
 */
async function lackBefore(
  { settings, safety }: PublisherParts,
  server: Server,
): Promise<string | undefined> {
  if (!safety.short) return undefined
  const lack = await shortfallOf(server, settings.confirm, 1)
  safety.short = lack !== undefined
  return lack
}

interface Stored {
  readonly answers: readonly unknown[]
  /** Why what is stored is not confirmed yet. */
  readonly shortfall: string | undefined
}

async function storeAndConfirm(
  { settings, prefix, safety }: PublisherParts,
  server: Server,
  args: readonly (string | Uint8Array)[],
): Promise<Stored> {
  const answers = (await run(server, scripts.put, prefix, args)) as readonly unknown[]
  if (!answers.some((answer) => String(answer) === 'ok')) return { answers, shortfall: undefined }
  const most = Math.ceil(settings.confirmTimeoutMs / 2)
  const shortfall = await shortfallOf(server, settings.confirm, most).catch(
    (error: unknown) => `cannot tell whether it is safe: ${faultOfServer(error)}`,
  )
  safety.short = shortfall !== undefined
  return { answers, shortfall }
}

function outcomesOf(
  { own }: PublisherParts,
  messages: readonly OutgoingMessage[],
  answers: readonly string[],
  shortfall: string | undefined,
): readonly PublishOutcome[] {
  const order = keyOrder()
  return messages.map((message, index) => {
    const answer = answers[index] ?? 'away no answer'
    const outcome =
      answer === 'held'
        ? (order.before(message) ?? heldBack())
        : outcomeOf(answer, message, own, shortfall)
    order.note(message, outcome)
    return outcome
  })
}

function outcomeOf(
  answer: string,
  message: OutgoingMessage,
  own: OwnQueues,
  shortfall: string | undefined,
): PublishOutcome {
  if (answer === 'ok')
    return shortfall === undefined ? confirmed : unknown(`Redis has stored it, but ${shortfall}`)
  if (answer.startsWith('away ')) return unavailable(`Redis did not store it: ${answer.slice(5)}`)
  if (answer.startsWith('torn '))
    return unknown(`Redis stored it for some queues only: ${answer.slice(5)}`)
  const back = own.missing(message.to)
  return back === undefined
    ? unroutable(message.to)
    : { ...unavailable('the queue is being made again'), back }
}
