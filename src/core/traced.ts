import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import type { Envelope, OutgoingMessage } from './messages/message.ts'
import type { PublishOptions, PublishOutcome, Transport } from './transport.ts'

/** What every operation tells beside its own fields. */
interface Traced {
  /** Name of the app, the relay or the documents that do it. */
  readonly app: string
  /** What was thrown; set before `error`. */
  error?: unknown
  /**
   * A listener of `start` may put a function here that calls the work, such as in an asynchronous
   * context of its own, and returns what it returns. One that is there already is to be called
   * inside. Not looked at in `publish`.
   */
  around?: <Result>(work: () => Result) => Result
}

/**
 * What the listeners of an operation see: one object from its start to its end. The fields that are
 * not readonly are set while it runs.
 */
export interface Operations {
  /** A message is made, on its way into a transaction or to the broker. */
  send: Traced & {
    /** Name of the transport, such as `rabbitmq`. */
    readonly system: string
    readonly type: string
    readonly to: OutgoingMessage['to']
    /** In a transaction of the app, or of somebody else. */
    readonly transactional: boolean
    /** The message that is being handled. */
    readonly cause: Envelope | undefined
    /**
     * What a listener of `start` puts here becomes headers of the message, such as `traceparent`.
     * Names in lower case; headers of the sender stay as they are, and what cannot travel is left
     * out.
     */
    readonly headers: Record<string, string>
    /** As it will travel. */
    message?: OutgoingMessage
  }
  /** Messages are written in a transaction. */
  save: Traced & {
    readonly messages: number
    /**
     * `unit`: a transaction of the app. `commit`: the same, in one flight with its commit, whose
     * end this operation does not see. `foreign`: a transaction of somebody else.
     */
    into: 'unit' | 'commit' | 'foreign'
  }
  /** A relay asks the outbox for rows. */
  claim: Traced & {
    /** Most rows that it wants. */
    readonly limit: number
    /** Rows that it got. */
    messages?: number
  }
  /** One message is with its broker, until that has answered. */
  publish: Traced & {
    /** Name of the transport, such as `rabbitmq`. */
    readonly system: string
    readonly message: OutgoingMessage
    /** `app`: without an outbox, or past it. */
    readonly by: 'relay' | 'app' | 'documents'
    outcome?: PublishOutcome['kind']
  }
  /** A relay records what became of messages. */
  settle: Traced & {
    readonly messages: number
    /** Settlements that changed nothing, since the claim had been lost. */
    stale?: number
  }
  /** A delivery is in hand, with all tries and waits, until it is known what becomes of it. */
  receive: Traced & {
    /** Name of the transport, such as `rabbitmq`. */
    readonly system: string
    readonly queue: string
    readonly message: Envelope
    /** Number of the delivery, from 1. */
    readonly delivery: number
    /** As in the event `mersal:handle`. */
    outcome?: string
    /** Why it comes again, or became a dead letter. */
    failure?: Error
  }
  /** A handler is called, once for each try. */
  handle: Traced & {
    readonly queue: string
    readonly message: Envelope
    /** Number of the try, over all deliveries, from 1. */
    readonly attempt: number
  }
}

export type OperationName = keyof Operations
type Channels = TracingChannel<object>

/** One each: `tracing:mersal:send:start`, `tracing:mersal:send:end`, … */
const channels: Readonly<Record<OperationName, Channels>> = {
  send: tracingChannel('mersal:send'),
  save: tracingChannel('mersal:save'),
  claim: tracingChannel('mersal:claim'),
  publish: tracingChannel('mersal:publish'),
  settle: tracingChannel('mersal:settle'),
  receive: tracingChannel('mersal:receive'),
  handle: tracingChannel('mersal:handle'),
}

/**
 * Does the work, and tells those who listen: `start`, then `end` when the call has returned, then
 * `asyncStart` and `asyncEnd` when the work is over; `error` before that if it failed. `asyncEnd`
 * always comes, and comes last. Without listeners it only calls the work, and makes no object.
 * `note` notes the result of the work before its end.
 */
export function traced<Name extends OperationName, Result>(
  name: Name,
  facts: () => Operations[Name],
  work: (facts: Operations[Name] | undefined) => Result,
  note: (facts: Operations[Name], result: Awaited<Result>) => void = nothing,
): Result {
  const target = channels[name]
  return target.hasSubscribers ? observed(target, facts(), work, note) : work(undefined)
}

function nothing(): void {}

function isThenable(result: unknown): result is PromiseLike<unknown> {
  return typeof (result as { then?: unknown } | null | undefined)?.then === 'function'
}

function observed<Facts extends Traced, Result>(
  target: Channels,
  facts: Facts,
  work: (facts: Facts) => Result,
  note: (facts: Facts, result: Awaited<Result>) => void,
): Result {
  return target.start.runStores(facts, () => {
    let result: Result
    try {
      result = within(facts, () => work(facts))
    } catch (thrown) {
      failed(target, facts, thrown)
      target.end.publish(facts)
      over(target, facts)
      throw thrown
    }
    target.end.publish(facts)
    const succeeded = (value: Awaited<Result>): Awaited<Result> => {
      write(() => note(facts, value))
      over(target, facts)
      return value
    }
    if (!isThenable(result)) return succeeded(result as Awaited<Result>)
    // Those who wait for the result come after the listeners.
    return Promise.resolve(result).then(succeeded, (thrown: unknown) => {
      failed(target, facts, thrown)
      over(target, facts)
      throw thrown
    }) as Result
  })
}

/**
 * Does the work once, inside `around`, and gives its result, whatever `around` makes of both. What
 * that throws of its own is an uncaught exception, as if a listener had thrown it.
 */
function within<Result>(facts: Traced, work: () => Result): Result {
  if (typeof facts.around !== 'function') return work()
  let done: (() => Result) | undefined
  let thrownByWork: unknown
  const once = (): Result => {
    if (done !== undefined) return done()
    done = doneAlready
    try {
      const result = work()
      done = () => result
    } catch (thrown) {
      thrownByWork = thrown
      done = () => {
        throw thrown
      }
    }
    return done()
  }
  try {
    facts.around(once)
  } catch (thrown) {
    if (thrown !== thrownByWork)
      process.nextTick(() => {
        throw thrown
      })
  }
  return once()
}

function doneAlready(): never {
  throw new Error('around() was called inside of the work that it calls')
}

/**
 * Notes something in the facts. A listener that has frozen them, or a store that breaks its
 * contract, makes that fail: those who wait for the result judge it themselves.
 */
function write(note: () => void): void {
  try {
    note()
  } catch {
    // The listeners go without it.
  }
}

/**
 * A message as listeners see it: what they write into it changes no message. The bytes are its own.
 */
export function shown<Message extends Envelope & Partial<Pick<OutgoingMessage, 'to'>>>(
  message: Message,
): Message {
  const { headers, to } = message
  return { ...message, headers: { ...headers }, ...(to === undefined ? {} : { to: { ...to } }) }
}

/** Notes these while the work runs. Fails nothing, whatever a listener has made of the facts. */
export function noteFacts<Facts extends object>(
  facts: Facts | undefined,
  found: Partial<Facts>,
): void {
  if (facts !== undefined) write(() => Object.assign(facts, found))
}

function failed(target: Channels, facts: Traced, thrown: unknown): void {
  write(() => (facts.error = thrown))
  target.error.publish(facts)
}

function over(target: Channels, facts: Traced): void {
  target.asyncStart.publish(facts)
  target.asyncEnd.publish(facts)
}

/** Publishes through a transport, and tells those who listen of each message. */
export function publishTraced(
  about: Pick<Operations['publish'], 'app' | 'by'>,
  transport: Transport,
  messages: readonly OutgoingMessage[],
  options?: PublishOptions,
): readonly Promise<PublishOutcome>[] {
  const target = channels.publish
  if (!target.hasSubscribers) return transport.publish(messages, options)
  const all = messages.map((message): Operations['publish'] => {
    const facts = { ...about, system: transport.name, message: shown(message) }
    target.start.publish(facts)
    return facts
  })
  let answers: readonly Promise<PublishOutcome>[] = []
  try {
    answers = transport.publish(messages, options)
    return answers
  } catch (thrown) {
    for (const facts of all) write(() => (facts.error = thrown))
    throw thrown
  } finally {
    for (const [index, facts] of all.entries()) {
      target.end.publish(facts)
      void answered(target, facts, answersAt(answers, index))
    }
  }
}

/** A transport that breaks its contract may return anything; its caller says so. */
function answersAt(answers: unknown, index: number): Promise<PublishOutcome> | undefined {
  return Array.isArray(answers) ? (answers[index] as Promise<PublishOutcome>) : undefined
}

/** Never rejects. */
async function answered(
  target: Channels,
  facts: Operations['publish'],
  answer: Promise<PublishOutcome> | undefined,
): Promise<void> {
  try {
    const outcome = await answer
    write(() => {
      if (outcome !== undefined) facts.outcome = outcome.kind
      if (outcome !== undefined && outcome.kind !== 'confirmed') facts.error = outcome.error
    })
  } catch (thrown) {
    write(() => (facts.error = thrown))
  }
  if (facts.error !== undefined) target.error.publish(facts)
  over(target, facts)
}
