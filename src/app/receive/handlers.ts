import { MersalError } from '../../core/errors/errors.ts'
import type { EventType, MessageType } from '../../core/messages/message.ts'
import { checkNumber, checkOptions } from '../../core/options.ts'
import { printable } from '../../lib/text.ts'
import { checkMessageType } from '../send/messages.ts'
import type { HandleOptions, Handler } from '../types.ts'
import { type Limit, type LimitFacts, limitsOf } from './limits/options.ts'
import { type HandlingStep, withSteps } from './handling-steps.ts'
import { type RetryFacts, type TypeRetries, retriesOf } from './retries/policies.ts'

export interface Registration<Tx> {
  readonly type: MessageType
  readonly handler: Handler<unknown, Tx>
  /** Most messages that share one transaction. */
  readonly batch: number
  readonly retries: TypeRetries
  readonly limits: readonly Limit[]
}

/** What a registration depends on. */
export type HandlerFacts<Tx> = RetryFacts &
  BatchFacts &
  Omit<LimitFacts, 'concurrency'> & {
    readonly receive: { readonly limits: readonly Limit[] }
    /** Steps around every handler. */
    readonly handling: readonly HandlingStep<Tx>[]
  }

/** What the option `batch` depends on. */
interface BatchFacts {
  readonly receive: { readonly concurrency: number }
  /** Undefined where messages cannot share a transaction. */
  readonly sharing: unknown
}

/** The handlers of one app: at most one per message type. */
export class Handlers<Tx> {
  readonly #byName = new Map<string, Registration<Tx>>()
  readonly #facts: HandlerFacts<Tx>

  constructor(facts: HandlerFacts<Tx>) {
    this.#facts = facts
  }

  add(type: MessageType, handler: Handler<never, Tx>, options: HandleOptions): void {
    checkMessageType('handle()', type)
    if (typeof handler !== 'function') {
      throw new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `handle('${type.name}'): the handler must be a function, got ${typeof handler}`,
      )
    }
    if (this.#byName.has(type.name)) {
      const remedy =
        'call both functions from one handler, or give the second one an app of its own'
      throw new MersalError(
        'MERSAL_DUPLICATE_HANDLER',
        `'${printable(type.name)}' has a handler already: ${remedy}`,
      )
    }
    const call = `handle('${type.name}')`
    checkOptions(call, options, ['batch', 'retry', 'limit'])
    const { receive } = this.#facts
    const limits = limitsOf(`${call}.limit`, options.limit, { ...this.#facts, ...receive })
    const retries = retriesOf(call, options.retry, this.#facts)
    const isPaced = [...receive.limits, ...limits].some(({ intervalMs }) => intervalMs > 0)
    this.#byName.set(type.name, {
      type,
      handler: withSteps(this.#facts.handling, type, handler as Handler<unknown, Tx>),
      batch: batchOf(call, options, this.#facts),
      // Each try waits for its turn, so each is a delivery of its own.
      retries: isPaced ? { ...retries, immediateRetries: 0 } : retries,
      limits,
    })
  }

  /** The limits of each type. */
  limits(): readonly (readonly Limit[])[] {
    return [...this.#byName.values()].map(({ limits }) => limits)
  }

  get(name: string): Registration<Tx> | undefined {
    return this.#byName.get(name)
  }

  /** The events that have a handler. */
  events(): readonly EventType<unknown>[] {
    return [...this.#byName.values()]
      .map(({ type }) => type)
      .filter((type): type is EventType<unknown> => type.kind === 'event')
  }
}

function batchOf(call: string, options: HandleOptions, { receive, sharing }: BatchFacts): number {
  const field = `${call}.batch`
  const batch = checkNumber(field, options.batch, { default: 1, min: 1, max: 10_000 })
  const remedy =
    batch > receive.concurrency
      ? `${batch} is more than the ${receive.concurrency} messages in hand at a time: raise receive.concurrency, or lower it`
      : 'messages share transactions of postgres({ pool }), sqlite() and memoryStore() only: leave it out'
  if (batch > receive.concurrency || (batch > 1 && sharing === undefined)) {
    throw new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${remedy}`, { details: { field } })
  }
  return batch
}
