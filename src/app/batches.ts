import { AsyncResource } from 'node:async_hooks'
import { errorText } from '../core/dead-letter.ts'
import { isMersalError } from '../core/errors.ts'
import { nextTurn } from '../lib/turn.ts'
import type { Registration } from './handlers.ts'
import { type InvokePorts, type Reception, invokeInUnit } from './invoke.ts'
import { type Part, type SharedOutcome, runShared } from './shared-unit.ts'
import type { RunUnit } from './units.ts'

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
 * Handles deliveries of a type whose handler allows it together, in one transaction: whatever is in
 * hand when a transaction is free, up to `batch`; nothing is waited for. If one fails, everything is
 * rolled back and it is taken apart until each has committed, or has failed alone.
 */
export class Batches<Tx> {
  readonly #ports: InvokePorts<Tx>
  readonly #runUnit: RunUnit<Tx>
  readonly #lines = new Map<Registration<Tx>, Line<Tx>>()

  constructor(ports: InvokePorts<Tx>, runUnit: RunUnit<Tx>) {
    this.#ports = ports
    this.#runUnit = runUnit
  }

  /**
   * Whether this try may share a transaction. Only a first one does: a message that comes again has
   * failed, or was in hand when a process died, and must not take others with it.
   */
  takes({ registration, attempt }: Reception<Tx>): boolean {
    return registration.batch > 1 && attempt === 1
  }

  /** Resolves when the transaction of the delivery has committed; rejects with its own failure. */
  handle(context: Reception<Tx>): Promise<void> {
    const { registration } = context
    let line = this.#lines.get(registration)
    if (line === undefined) this.#lines.set(registration, (line = { waiting: [], running: 0, scheduled: false }))
    const within = AsyncResource.bind(<Result>(work: () => Result): Result => work())
    const done = Promise.withResolvers<void>()
    line.waiting.push({ context, within, done })
    this.#schedule(registration, line)
    return done.promise
  }

  /** A turn later, so that what comes out of one read of the network is taken together. */
  #schedule(registration: Registration<Tx>, line: Line<Tx>): void {
    if (line.scheduled || line.waiting.length === 0 || line.running >= this.#mostAtOnce(registration)) return
    line.scheduled = true
    void nextTurn().then(() => {
      line.scheduled = false
      while (line.waiting.length > 0 && line.running < this.#mostAtOnce(registration)) void this.#begin(registration, line)
    })
  }

  #mostAtOnce({ batch }: Registration<Tx>): number {
    return Math.max(1, Math.floor(this.#ports.settings.receive.concurrency / batch))
  }

  async #begin(registration: Registration<Tx>, line: Line<Tx>): Promise<void> {
    const group = takeGroup(line.waiting, registration.batch)
    line.running++
    await this.#handleGroup(group)
    line.running--
    this.#schedule(registration, line)
  }

  /** Never rejects; settles each of them. */
  async #handleGroup(all: readonly Waiting<Tx>[]): Promise<void> {
    const group = all.filter(({ context, done }) => {
      if (context.signal.aborted) done.reject(context.signal.reason)
      return !context.signal.aborted
    })
    const [first] = group
    if (first === undefined) return
    if (group.length === 1) return this.#handleAlone(first)
    const outcome = await first.within(() => runShared(this.#ports, this.#runUnit, group))
    if (outcome.failure === undefined) for (const { done } of group) done.resolve()
    else await this.#takeApart(group, outcome, outcome.failure.error)
  }

  async #handleAlone({ context, within, done }: Waiting<Tx>): Promise<void> {
    try {
      await within(() => invokeInUnit(this.#ports, this.#runUnit, context))
      done.resolve()
    } catch (error) {
      done.reject(error)
    }
  }

  async #takeApart(group: readonly Waiting<Tx>[], { progress }: SharedOutcome, error: unknown): Promise<void> {
    this.#say(group, error)
    switch (progress.stage) {
      case 'opening':
        // No fault of any message: the database is away, or the app is being stopped.
        for (const { done } of group) done.reject(error)
        return
      case 'handling':
        await this.#handleGroup(group.slice(0, progress.index))
        await this.#handleGroup(group.slice(progress.index, progress.index + 1))
        return this.#handleGroup(group.slice(progress.index + 1))
      case 'recording':
      case 'committing': {
        const half = Math.ceil(group.length / 2)
        await this.#handleGroup(group.slice(0, half))
        return this.#handleGroup(group.slice(half))
      }
      default:
        return progress satisfies never
    }
  }

  #say(group: readonly Waiting<Tx>[], error: unknown): void {
    const { logger, name: app } = this.#ports.settings
    const fields = { app, type: group[0]?.context.registration.type.name, messages: group.length, error: errorText(error) }
    const text = 'messages that were handled in one transaction are handled again, apart'
    // A failure of one message is told when it fails alone; that they take too long together is told nowhere else.
    if (isMersalError(error, 'MERSAL_HANDLER_TIMEOUT')) logger.warn(fields, text)
    else logger.debug(fields, text)
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
