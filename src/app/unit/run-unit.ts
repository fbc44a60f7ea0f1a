import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Envelope } from '../../core/messages/message.ts'
import type { UnitOfWork, UnitOptions } from '../../core/store.ts'
import { toError } from '../../lib/async/abort.ts'
import type { GivingUp, LinkedAbort } from '../../lib/async/linked-abort.ts'
import { type AfterCommit, runAfterCommit } from './after-commit.ts'
import type { Ambient } from './ambient.ts'
import { type Flushed, type FlushPorts, flush, handOver, nothing } from './flush.ts'
import { type GivingUpPorts, unlessGivenUp } from './giving-up.ts'
import { boundedInside } from './joining.ts'
import type { OpenUnits } from './open-units.ts'
import { type TimeLimit, withTimeLimit } from './time-limit.ts'
import { Unit } from './unit.ts'

export interface UnitPorts<Tx> extends FlushPorts<Tx>, GivingUpPorts {
  readonly ambient: Ambient<Tx>
  readonly unitOfWork: UnitOfWork<Tx>
  readonly units: OpenUnits<Tx>
}

export interface UnitRequest<Tx, Result> {
  /** The message that is being handled. */
  readonly cause?: Envelope | undefined
  readonly signal?: AbortSignal | undefined
  /** As `signal`. */
  readonly givingUp?: GivingUp | undefined
  /** The unit that is open where this one was asked for: it may hold what this one waits for. */
  readonly outer?: Unit<Tx> | undefined
  /**
   * For the work and the saving of its messages. Not for waiting for the database, nor for the
   * commit.
   */
  readonly limit?: TimeLimit | undefined
  readonly work: (unit: Unit<Tx>, givingUp: GivingUp) => Promise<Result>
}

export type RunUnit<Tx> = <Result>(request: UnitRequest<Tx, Result>) => Promise<Result>

/**
 * Runs units of work: the work, then its messages as the last statement of the same transaction,
 * then the commit, then the hand-over to the relay. Only what has certainly been committed is
 * handed over. After an unknown commit the relay finds the rows by itself, if they exist.
 */
export function unitRunner<Tx>(ports: UnitPorts<Tx>): RunUnit<Tx> {
  return (request) =>
    ports.units.run(request.givingUp ?? request.signal, (link) =>
      runInStore(ports, request, new Run(link)),
    )
}

/** One run of a unit, with what the store is told of it: most stores never ask for most of it. */
class Run<Result> implements UnitOptions {
  /** The store follows it too, since what the work does later must reach no other transaction. */
  readonly link: LinkedAbort
  flushed: Flushed = nothing
  works: readonly AfterCommit[] = []
  outcome:
    | { readonly kind: 'done'; readonly value: Result }
    | { readonly kind: 'failed'; readonly error: unknown }
    | undefined
  #over = false
  #ended: PromiseWithResolvers<void> | undefined

  constructor(link: LinkedAbort) {
    this.link = link
  }

  get signal(): AbortSignal {
    return this.link.signal
  }

  get givingUp(): LinkedAbort {
    return this.link
  }

  get ended(): Promise<void> {
    this.#ended ??= Promise.withResolvers()
    if (this.#over) this.#ended.resolve()
    return this.#ended.promise
  }

  /** Nothing of the work runs any more. */
  end(): void {
    this.#over = true
    this.#ended?.resolve()
  }
}

async function runInStore<Tx, Result>(
  ports: UnitPorts<Tx>,
  request: UnitRequest<Tx, Result>,
  run: Run<Result>,
): Promise<Result> {
  const { link } = run
  const abort = (reason: Error): void => link.abort(reason)
  const inside = { what: 'transaction()', clock: ports.clock, outer: request.outer, abort }
  try {
    await boundedInside(inside, (begun) => {
      const work = (tx: Tx, repeat?: 'after rollback'): Promise<void> => {
        begun()
        return perform(ports, request, { tx, repeat }, run)
      }
      return unlessGivenUp(ports, ports.unitOfWork(work, run), link, () => givenUp(run))
    })
  } catch (error) {
    run.flushed.offer?.cancel()
    throw error
  }
  const value = committed(run)
  runAfterCommit(ports, run.works)
  await handOver(ports, run.flushed)
  return value
}

function givenUp<Result>({ link, outcome }: Run<Result>): Error {
  if (outcome?.kind !== 'done') return toError(link.reason)
  const text =
    'the unit was given up while the database had not answered to its commit: it may or may not have happened'
  return new MersalError('MERSAL_COMMIT_UNKNOWN', text, { cause: link.reason })
}

/** The function that the store runs in its transaction. */
async function perform<Tx, Result>(
  ports: UnitPorts<Tx>,
  request: UnitRequest<Tx, Result>,
  { tx, repeat }: { readonly tx: Tx; readonly repeat: 'after rollback' | undefined },
  run: Run<Result>,
): Promise<void> {
  beginAgain(run, repeat)
  const unit = newUnit(ports, request, tx)
  let begun = false
  const work = (): Promise<Result> => {
    begun = true
    return workAndFlush(ports, request, unit, run)
  }
  const onLate = (error: unknown): void => {
    const fields = { app: ports.app, id: request.cause?.id, ...errorFields(error) }
    ports.logger.debug(fields, 'work that had been given up failed later')
  }
  try {
    const value = await withTimeLimit(request.limit, run.link, work, onLate)
    run.outcome = { kind: 'done', value }
  } catch (error) {
    run.outcome = { kind: 'failed', error }
    throw error
  } finally {
    unit.end()
    if (!begun) run.end()
  }
}

/** A store may repeat its work after a rollback. Nothing of the earlier run counts then. */
function beginAgain<Result>(run: Run<Result>, repeat: 'after rollback' | undefined): void {
  if (run.outcome !== undefined && repeat === undefined) {
    const text =
      'the unit of work called its function twice: a unit may be repeated only after a rollback, and must say so'
    throw new MersalError('MERSAL_STORE_FAILED', text)
  }
  run.flushed.offer?.cancel()
  run.flushed = nothing
  run.works = []
  run.outcome = undefined
}

function newUnit<Tx>(
  { savepoints, ambient, units }: UnitPorts<Tx>,
  { cause }: Pick<UnitRequest<Tx, unknown>, 'cause'>,
  tx: Tx,
): Unit<Tx> {
  const unit = new Unit(tx, {
    cause,
    mark: (number) => savepoints?.mark(tx, number),
    level: () => ambient.getStore()?.level,
  })
  units.note(unit)
  return unit
}

async function workAndFlush<Tx, Result>(
  ports: UnitPorts<Tx>,
  { cause, work }: UnitRequest<Tx, Result>,
  unit: Unit<Tx>,
  run: Run<Result>,
): Promise<Result> {
  const { link } = run
  try {
    const value = await ports.ambient.run({ unit, cause }, work, unit, link)
    // Given up meanwhile: the transaction is over, so nothing may be written any more.
    link.throwIfAborted()
    const captured = unit.close()
    run.works = unit.works
    if (captured.length > 0) run.flushed = await flush(ports, unit.tx, captured, link)
    return value
  } finally {
    run.end()
  }
}

/**
 * The result, if and only if the work ran to its end: a unit of work that hides a failure must not
 * look like a commit.
 */
function committed<Result>({ outcome }: Run<Result>): Result {
  switch (outcome?.kind) {
    case 'done':
      return outcome.value
    case 'failed': {
      const text = 'the work failed, but the unit of work resolved as if it had not'
      throw new MersalError('MERSAL_ROLLED_BACK', text, { cause: outcome.error })
    }
    case undefined:
    default: {
      const text = 'the unit of work resolved without having called its function'
      throw new MersalError('MERSAL_STORE_FAILED', text)
    }
  }
}
