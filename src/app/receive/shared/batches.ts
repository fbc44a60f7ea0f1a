import { AsyncResource } from 'node:async_hooks'
import { errorText } from '../../../core/errors/error-text.ts'
import { isMersalError } from '../../../core/errors/errors.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import { nextTurn } from '../../../lib/async/turn.ts'
import type { Registration } from '../handlers.ts'
import { type Reception, invokeInUnit } from '../attempt.ts'
import {
  type Handling,
  type Part,
  type SharedOutcome,
  type SharedPorts,
  runShared,
  typeOf,
} from './shared-unit.ts'
import { undone } from './sharing.ts'
import { endedByHandler } from './taking-back.ts'

interface Waiting<Tx> extends Part<Tx> {
  readonly done: PromiseWithResolvers<void>
}

/** The deliveries of one message type that wait for a transaction. */
interface Line<Tx> {
  readonly waiting: Waiting<Tx>[]
  /** Transactions in progress. */
  running: number
  scheduled: boolean
}

/**
 * A handler that was given up with its neighbours had this share of the time at least, if it is to
 * blame.
 */
const ITS_OWN_FAULT = 0.9
/**
 * A message whose neighbours fail shares once more; then it is handled alone, so that no run of
 * failures holds it up.
 */
const MOST_SHARED_TRIES = 2

/**
 * Handles deliveries of a type whose handler allows it together, in one transaction: whatever is in
 * hand when a transaction is free, up to `batch`; nothing is waited for. If it fails, everything is
 * rolled back and each delivery is handled again, at once and beside the others: the one that
 * failed alone, the others together once more, or alone if nobody knows whose fault it was.
 */
export class Batches<Tx> {
  readonly #ports: SharedPorts<Tx>
  readonly #lines = new Map<Registration<Tx>, Line<Tx>>()
  #inHand = 0
  #idle = Promise.withResolvers<void>()

  constructor(ports: SharedPorts<Tx>) {
    this.#ports = ports
    this.#idle.resolve()
  }

  /**
   * Whether this try may share a transaction. Only a first one does: a message that comes again has
   * failed, asked to come later, or was in hand when a process died, and must not take others with
   * it.
   */
  takes({ registration, attempt, sharing, delivery }: Reception<Tx>): boolean {
    return (
      registration.batch > 1 &&
      attempt === 1 &&
      delivery.postponedSince === undefined &&
      !sharing.alone
    )
  }

  /**
   * Resolves when the transaction of the delivery has committed; rejects with its own failure, or,
   * when `sharing.again` says so, because it has to be handled again.
   */
  async handle(context: Reception<Tx>): Promise<void> {
    const { registration, signal } = context
    signal.throwIfAborted()
    let line = this.#lines.get(registration)
    if (line === undefined)
      this.#lines.set(registration, (line = { waiting: [], running: 0, scheduled: false }))
    const { waiting } = line
    const within = AsyncResource.bind(<Result>(work: () => Result): Result => work())
    const entry: Waiting<Tx> = { context, within, done: Promise.withResolvers<void>() }
    const leave = (): void => {
      const place = waiting.indexOf(entry)
      if (place >= 0) waiting.splice(place, 1)[0]?.done.reject(signal.reason)
    }
    signal.addEventListener('abort', leave, { once: true })
    if (this.#inHand++ === 0) this.#idle = Promise.withResolvers()
    waiting.push(entry)
    this.#schedule(registration, line)
    try {
      await entry.done.promise
    } finally {
      signal.removeEventListener('abort', leave)
      if (--this.#inHand === 0) this.#idle.resolve()
    }
  }

  /** Resolves when nothing waits and nothing is being handled here. */
  idle(): Promise<void> {
    return this.#idle.promise
  }

  /** Gives up what waits. What is being handled is given up with its unit. */
  abort(reason: Error): void {
    for (const { waiting } of this.#lines.values())
      for (const { done } of waiting.splice(0)) done.reject(reason)
  }

  /** A turn later, so that what comes out of one read of the network is taken together. */
  #schedule(registration: Registration<Tx>, line: Line<Tx>): void {
    if (
      line.scheduled ||
      line.waiting.length === 0 ||
      line.running >= this.#mostAtOnce(registration)
    )
      return
    line.scheduled = true
    void nextTurn().then(() => {
      line.scheduled = false
      while (line.waiting.length > 0 && line.running < this.#mostAtOnce(registration))
        void this.#begin(registration, line)
    })
  }

  #mostAtOnce({ batch }: Registration<Tx>): number {
    return Math.max(1, Math.floor(this.#ports.settings.receive.concurrency / batch))
  }

  async #begin(registration: Registration<Tx>, line: Line<Tx>): Promise<void> {
    const group = takeGroup(line.waiting, registration.batch)
    line.running++
    try {
      const [first] = group
      if (first === undefined) return
      if (group.length > 1) return await this.#share(first, group)
      await first.within(() => invokeInUnit(this.#ports, this.#ports.runUnit, first.context))
      first.done.resolve()
    } catch (error) {
      // Those that have been told already hear nothing of it.
      rejectAll(group, error)
    } finally {
      line.running--
      this.#schedule(registration, line)
    }
  }

  async #share(first: Part<Tx>, group: readonly Waiting<Tx>[]): Promise<void> {
    for (const { context } of group) context.sharing.tries++
    const outcome = await first.within(() => runShared(this.#ports, group))
    if (outcome.failure === undefined) return group.forEach(({ done }) => done.resolve())
    this.#judge(group, outcome, outcome.failure.error)
    this.#say(group, outcome, outcome.failure.error)
  }

  #judge(group: readonly Waiting<Tx>[], outcome: SharedOutcome, error: unknown): void {
    const { progress, over } = outcome
    if (outcome.committed) return this.#judgeCommitted(group, outcome, error)
    switch (progress.stage) {
      case 'opening':
        // No fault of any message: the database is away, or the app is being stopped.
        return rejectAll(group, error)
      case 'handling':
        if (isMersalError(error, 'MERSAL_HANDLER_TIMEOUT'))
          return this.#judgeLate(group, progress, outcome.givenUpAt, error)
        for (const [index, { context }] of group.entries()) {
          context.sharing.alone =
            over || index === progress.index || context.sharing.tries >= MOST_SHARED_TRIES
        }
        return repeatAll(group, error)
      case 'recording':
      case 'committing':
        for (const { context } of group) context.sharing.alone = true
        return repeatAll(group, error)
      default:
        return progress satisfies never
    }
  }

  /**
   * A handler has committed for all: what those before it have written is stored, what they have
   * sent is not, and only a person can tell what is missing. The others have not had their turn.
   */
  #judgeCommitted(group: readonly Waiting<Tx>[], { called }: SharedOutcome, error: unknown): void {
    for (const { context } of group) context.sharing.alone = true
    const ended = group.filter((part) => called.has(part))
    const others = group.filter((part) => !called.has(part))
    rejectAll(ended, endedByHandler(error))
    repeatAll(others, error)
  }

  /**
   * Their time was up together. It was the fault of the one that was being handled only if it has
   * had (nearly) all of it.
   */
  #judgeLate(
    group: readonly Waiting<Tx>[],
    { index, beganAt, ended }: Handling,
    givenUpAt: number | undefined,
    error: unknown,
  ): void {
    const late = group[index] as Waiting<Tx>
    for (const { context } of group) context.sharing.alone = true
    const guilty =
      givenUpAt !== undefined &&
      givenUpAt - beganAt >= ITS_OWN_FAULT * this.#ports.settings.receive.handlerTimeoutMs
    if (guilty) late.done.reject(error)
    else late.context.sharing.ghost = this.#atMostItsTime(ended, late.context.signal)
    repeatAll(guilty ? group.filter((part) => part !== late) : group, error)
  }

  /** Its handler may go on although it was given up; it should not run twice at the same time. */
  async #atMostItsTime(ended: Promise<unknown>, signal: AbortSignal): Promise<void> {
    const { clock, receive } = this.#ports.settings
    using enough = linkAbort(signal)
    void ended.then(() => enough.abort('ended'))
    await clock.sleep(receive.handlerTimeoutMs, enough.signal)
  }

  #say(group: readonly Waiting<Tx>[], { progress, over }: SharedOutcome, error: unknown): void {
    const { logger, name: app } = this.#ports.settings
    const { code } = isMersalError(error) ? error : { code: undefined }
    const id =
      progress.stage === 'handling' ? group[progress.index]?.context.delivery.message.id : undefined
    const fields = {
      app,
      type: typeOf(group),
      messages: group.length,
      stage: progress.stage,
      id,
      code,
      error: errorText(error),
    }
    const text = 'a transaction that messages shared was undone'
    if (over)
      logger.error(
        fields,
        `${text}, since a handler, or its failure, had ended it: leave COMMIT to the unit`,
      )
    // A failure of one message is told when it fails alone; these may be told nowhere else.
    else if (progress.stage !== 'handling' || code === 'MERSAL_HANDLER_TIMEOUT')
      logger.warn(fields, text)
    else logger.debug(fields, text)
  }
}

function rejectAll<Tx>(group: readonly Waiting<Tx>[], error: unknown): void {
  for (const { done } of group) done.reject(error)
}

function repeatAll<Tx>(group: readonly Waiting<Tx>[], error: unknown): void {
  for (const { context, done } of group) {
    context.sharing.again = true
    done.reject(undone(error))
  }
}

/** The first ones, up to so many or up to the second message with the same id. */
function takeGroup<Tx>(waiting: Waiting<Tx>[], most: number): readonly Waiting<Tx>[] {
  const ids = new Set<string>()
  let count = 0
  for (const { context } of waiting) {
    const { id } = context.delivery.message
    if (count === most || ids.has(id)) break
    ids.add(id)
    count++
  }
  return waiting.splice(0, count)
}
