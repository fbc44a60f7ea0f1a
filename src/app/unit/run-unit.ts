import { MersalError } from '../../core/errors/errors.ts'
import type { Envelope, OutgoingMessage } from '../../core/messages/message.ts'
import type { SavedMessage } from '../../core/outbox.ts'
import type { Savepoints, UnitOfWork } from '../../core/store.ts'
import { type Logger, emit } from '../../core/telemetry.ts'
import type { ExpressOffer, Relay } from '../../outbox/types.ts'
import { errorText } from '../../core/errors/error-text.ts'
import { toError } from '../../lib/async/abort.ts'
import { type TimeLimit, withTimeLimit } from '../receive/time-limit.ts'
import type { LinkedAbort } from '../../lib/async/linked-abort.ts'
import type { Clock } from '../../lib/async/clock.ts'
import type { Ambient } from './ambient.ts'
import { boundedInside } from './joining.ts'
import type { OpenUnits } from './open-units.ts'
import type { StraightOutbox } from './queue-beside-outbox.ts'
import { keptMessages } from './savepoints.ts'
import { type Captured, Unit } from './unit.ts'

export interface UnitPorts<Tx> {
  readonly app: string
  readonly ambient: Ambient<Tx>
  readonly unitOfWork: UnitOfWork<Tx>
  readonly savepoints: Savepoints<Tx> | undefined
  readonly outbox: Pick<StraightOutbox<Tx>, 'storage' | 'committed'>
  /** Undefined while no relay runs in this app. */
  readonly relay: () => Relay | undefined
  readonly units: OpenUnits<Tx>
  readonly logger: Logger
  readonly clock: Clock
}

export interface UnitRequest<Tx, Result> {
  /** The message that is being handled. */
  readonly cause?: Envelope | undefined
  readonly signal?: AbortSignal | undefined
  /** The unit that is open where this one was asked for: it may hold what this one waits for. */
  readonly outer?: Unit<Tx> | undefined
  /**
   * For the work and the saving of its messages; not for waiting for the database, nor for the
   * commit.
   */
  readonly limit?: TimeLimit | undefined
  readonly work: (unit: Unit<Tx>, signal: AbortSignal) => Promise<Result>
}

export type RunUnit<Tx> = <Result>(request: UnitRequest<Tx, Result>) => Promise<Result>

/** Messages that were written, and the permission to publish them from memory after the commit. */
interface Flushed {
  readonly messages: readonly OutgoingMessage[]
  /** A promise: they are being written in one flight with the commit. */
  readonly saved: readonly SavedMessage[] | Promise<readonly SavedMessage[]>
  readonly offer: ExpressOffer | undefined
}

const nothing: Flushed = { messages: [], saved: [], offer: undefined }

/**
 * Runs units of work: the work, then its messages as the last statement of the same transaction,
 * then the commit, then the hand-over to the relay. Handed over is only what is certainly
 * committed; after an unknown commit the relay finds the rows by itself, if they exist.
 */
export function unitRunner<Tx>(ports: UnitPorts<Tx>): RunUnit<Tx> {
  return (request) =>
    // The store hears of every giving up, also of a time limit: what the work does later must reach
    // no other transaction.
    ports.units.run(request.signal, async (link) => {
      const ended = Promise.withResolvers<void>()
      const state: Attempt<Awaited<ReturnType<typeof request.work>>> = {
        flushed: nothing,
        outcome: undefined,
        link,
        ended,
      }
      try {
        const inside = {
          what: 'transaction()',
          clock: ports.clock,
          outer: request.outer,
          abort: (reason: Error) => link.abort(reason),
        }
        await boundedInside(inside, (begun) => {
          const work = (tx: Tx, repeat?: 'after rollback'): Promise<void> => {
            begun()
            return perform(ports, request, { tx, repeat }, state)
          }
          const unit = ports.unitOfWork(work, { signal: link.signal, ended: state.ended.promise })
          return unlessGivenUp(ports, unit, link.signal, state)
        })
      } catch (error) {
        state.flushed.offer?.cancel()
        throw error
      }
      const value = committed(state)
      await handOver(ports, state.flushed)
      return value
    })
}

/** A store that obeys the signal has ended by then. */
const LAST_ANSWER_MS = 1000

/**
 * The end of the unit; or, a second after the signal has aborted, a rejection: with the reason of
 * the signal, or with `MERSAL_COMMIT_UNKNOWN` if the work had ended and the store was about to
 * commit.
 */
async function unlessGivenUp<Tx, Result>(
  ports: UnitPorts<Tx>,
  unit: Promise<void>,
  signal: AbortSignal,
  state: Attempt<Result>,
): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  let over: AbortController | undefined
  const onAbort = (): void => {
    over = new AbortController()
    void giveUpLater(ports, unit, over.signal, () => reject(givenUp(signal, state)))
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([unit, late])
  } finally {
    signal.removeEventListener('abort', onAbort)
    over?.abort('over')
  }
}

async function giveUpLater<Tx>(
  { clock, logger, app }: UnitPorts<Tx>,
  unit: Promise<void>,
  over: AbortSignal,
  giveUp: () => void,
): Promise<void> {
  await clock.sleep(LAST_ANSWER_MS, over)
  if (over.aborted) return
  unit.catch((error: unknown) =>
    logger.debug({ app, error: errorText(error) }, 'a unit that had been given up failed later'),
  )
  giveUp()
}

function givenUp<Result>(signal: AbortSignal, { outcome }: Attempt<Result>): Error {
  if (outcome?.kind !== 'done') return toError(signal.reason)
  const text =
    'the unit was given up while the database had not answered to its commit: it may or may not have happened'
  return new MersalError('MERSAL_COMMIT_UNKNOWN', text, { cause: signal.reason })
}

interface Attempt<Result> {
  readonly link: LinkedAbort
  /** Resolved once nothing of the work runs any more. */
  readonly ended: PromiseWithResolvers<void>
  flushed: Flushed
  outcome:
    | { readonly kind: 'done'; readonly value: Result }
    | { readonly kind: 'failed'; readonly error: unknown }
    | undefined
}

async function perform<Tx, Result>(
  ports: UnitPorts<Tx>,
  request: UnitRequest<Tx, Result>,
  { tx, repeat }: { readonly tx: Tx; readonly repeat: 'after rollback' | undefined },
  state: Attempt<Result>,
): Promise<void> {
  if (state.outcome !== undefined && repeat === undefined) {
    throw new MersalError(
      'MERSAL_STORE_FAILED',
      'the unit of work called its function twice: a unit is never repeated behind our back',
    )
  }
  // Repeated by the store after a rollback: nothing of the earlier run counts.
  state.flushed.offer?.cancel()
  state.flushed = nothing
  state.outcome = undefined
  const unit = new Unit(tx, {
    cause: request.cause,
    mark: (number) => ports.savepoints?.mark(tx, number),
    level: () => ports.ambient.getStore()?.level,
  })
  ports.units.note(unit)
  const onLate = (error: unknown): void => {
    ports.logger.debug(
      { app: ports.app, id: request.cause?.id, error: errorText(error) },
      'work that had been given up failed later',
    )
  }
  let begun = false
  try {
    const work = async (signal: AbortSignal): Promise<Result> => {
      begun = true
      if (signal !== state.link.signal)
        signal.addEventListener('abort', () => state.link.abort(signal.reason), { once: true })
      try {
        const value = await ports.ambient.run({ unit, cause: request.cause }, () =>
          request.work(unit, signal),
        )
        signal.throwIfAborted() // given up meanwhile: the transaction is over, so nothing may be written any more
        state.flushed = await flush(ports, tx, unit.close(), signal)
        return value
      } finally {
        state.ended.resolve()
      }
    }
    state.outcome = {
      kind: 'done',
      value: await withTimeLimit(request.limit, state.link.signal, work, onLate),
    }
  } catch (error) {
    state.outcome = { kind: 'failed', error }
    throw error
  } finally {
    unit.end()
    if (!begun) state.ended.resolve()
  }
}

async function flush<Tx>(
  ports: UnitPorts<Tx>,
  tx: Tx,
  captured: readonly Captured[],
  signal: AbortSignal,
): Promise<Flushed> {
  const messages = await keptMessages(ports.savepoints, tx, captured)
  signal.throwIfAborted()
  if (messages.length === 0) return nothing
  const offer = ports.relay()?.express()
  const express =
    offer === undefined ? {} : { express: { token: offer.token, graceMs: offer.graceMs } }
  try {
    const { storage } = ports.outbox
    const later = storage.saveLast?.(tx, messages, express)
    const saved = later === undefined ? await storage.save(tx, messages, express) : later.saved
    signal.throwIfAborted()
    return { messages, saved, offer }
  } catch (error) {
    offer?.cancel()
    throw error
  }
}

/**
 * The result, if and only if the work ran to its end: a unit of work that hides a failure must not
 * look like a commit.
 */
function committed<Result>({ outcome }: Attempt<Result>): Result {
  if (outcome?.kind === 'done') return outcome.value
  if (outcome === undefined)
    throw new MersalError(
      'MERSAL_STORE_FAILED',
      'the unit of work resolved without having called its function',
    )
  throw new MersalError(
    'MERSAL_ROLLED_BACK',
    'the work failed, but the unit of work resolved as if it had not',
    { cause: outcome.error },
  )
}

async function handOver<Tx>(ports: UnitPorts<Tx>, flushed: Flushed): Promise<void> {
  const { messages, offer } = flushed
  if (messages.length === 0) return
  const saved = await flushed.saved
  const straight = ports.outbox.committed(messages, saved)
  const express = messages.flatMap((message, index) => {
    const row = saved[index]
    if (offer === undefined || row === undefined || !row.express) return []
    return { message, position: row.position, attempt: 0, token: offer.token }
  })
  emit('mersal:commit', () => ({
    app: ports.app,
    messages: messages.length,
    express: express.length,
  }))
  if (express.length > 0) offer?.dispatch(express)
  else offer?.cancel()
  if (express.length + straight < messages.length) ports.relay()?.wake()
}
