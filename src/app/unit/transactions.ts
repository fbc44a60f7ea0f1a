import { MersalError } from '../../core/errors/errors.ts'
import { checkOptions, checkSignal } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import { type AppState, appStopped } from '../lifecycle.ts'
import type { TransactionOptions, UnitSender } from '../types.ts'
import type { Ambient } from './ambient.ts'
import type { RunUnit } from './run-unit.ts'
import type { Unit } from './unit.ts'
import type { UnitSenders } from './unit-senders.ts'

export interface TransactionsPorts<Tx> {
  /** Name of the app. */
  readonly app: string
  readonly logger: Logger
  readonly ambient: Ambient<Tx>
  /** Undefined for an app without a database. */
  readonly runUnit: RunUnit<Tx> | undefined
  readonly unitSenders: UnitSenders<Tx>
  /** Opens the store, once. */
  readonly open: () => Promise<void>
  readonly lifecycle: { readonly state: AppState }
}

type Work<Tx, Result> = (tx: Tx, sender: UnitSender) => Promise<Result>

/** The transactions that the code of the user opens or joins. */
export class Transactions<Tx> {
  readonly #ports: TransactionsPorts<Tx>
  /** Units that are rolled back whatever their work does. */
  readonly #rehearsed = new WeakSet<Unit<Tx>>()
  #warnedOfNesting = false

  constructor(ports: TransactionsPorts<Tx>) {
    this.#ports = ports
  }

  /** As `Mersal.transaction`. */
  run<Result>(work: Work<Tx, Result>, options: TransactionOptions): Promise<Result> {
    const { join } = Object(options) as TransactionOptions
    if (join === undefined || join === false || this.#ports.runUnit === undefined)
      return this.#runNew(work, options)
    try {
      checkTransactionOptions(options)
      return this.#runJoined(this.#ports.unitSenders.unitOf(join), work, options.signal)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /** The unit that is open in this asynchronous context. It may be that of another request. */
  outer(): Unit<Tx> | undefined {
    const unit = this.#ports.ambient.getStore()?.unit
    return unit?.open === true ? unit : undefined
  }

  /** From now on a new transaction inside this unit is refused, since it would be committed. */
  noteRehearsed(unit: Unit<Tx>): void {
    this.#rehearsed.add(unit)
  }

  #runJoined<Result>(
    unit: Unit<Tx>,
    work: Work<Tx, Result>,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    const { ambient, unitSenders } = this.#ports
    return unit.join(async () => {
      signal?.throwIfAborted()
      const scope = ambient.getStore()
      const here = scope?.unit === unit && scope.level !== undefined ? { level: scope.level } : {}
      const result = await ambient.run({ unit, cause: unit.cause, ...here }, () =>
        work(unit.tx, unitSenders.make(unit, {})),
      )
      // Only now: work that was left behind here could write through the handle after the unit has
      // ended.
      signal?.throwIfAborted()
      return result
    })
  }

  async #runNew<Result>(work: Work<Tx, Result>, options: TransactionOptions): Promise<Result> {
    checkTransactionOptions(options)
    const { app, ambient, runUnit, unitSenders, open, lifecycle } = this.#ports
    const { state } = lifecycle
    if (state === 'stopping' || state === 'stopped') throw appStopped(app, 'transaction()')
    if (runUnit === undefined)
      throw misuse(
        'this app has no unit of work: give it a store, or unitOfWork with outbox.storage',
      )
    const outer = this.outer()
    if (outer !== undefined) this.#checkNesting(outer, options)
    await open()
    return runUnit({
      cause: ambient.getStore()?.cause,
      signal: options.signal,
      outer,
      work: (unit) => work(unit.tx, unitSenders.make(unit, {})),
    })
  }

  /** Warns once of a transaction that looks nested and is not. */
  #checkNesting(outer: Unit<Tx>, { join }: TransactionOptions): void {
    if (this.#rehearsed.has(outer)) throw misuse(COMMITTED)
    if (join === false || this.#warnedOfNesting) return
    this.#warnedOfNesting = true
    this.#ports.logger.warn({ app: this.#ports.app }, NESTED)
  }
}

function checkTransactionOptions(options: TransactionOptions): void {
  checkOptions('transaction()', options, ['signal', 'join'])
  checkSignal('transaction().signal', options.signal)
}

const COMMITTED =
  'inside capture() it would be committed: pass { join: sender } to make it part of what is rolled back'

const NESTED =
  'app.transaction() was called inside an open transaction of this app, and is a transaction of its own, which commits or fails by itself: ' +
  'pass { join: sender }, with the sender of the outer callback or the context of the handler, to be part of that one, ' +
  'or { join: false } to say that it is meant to be separate (said once)'

function misuse(text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `transaction(): ${text}`)
}
