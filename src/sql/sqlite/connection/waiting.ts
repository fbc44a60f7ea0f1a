import { MersalError } from '../../../core/errors/errors.ts'
import { type Random, systemClock } from '../../../lib/async/clock.ts'
import type { GivingUp } from '../../../lib/async/linked-abort.ts'
import type { Handle } from './database.ts'
import { isBusy, storeError } from './failure.ts'

/** Waits for another process grow to this, in milliseconds. */
const LONGEST_WAIT_MS = 16

/** The handle is inside a transaction that its owner began: as good as a lock of somebody else. */
export class ForeignTransaction extends Error {}

interface Patience {
  readonly busyTimeoutMs: number
  readonly random: Random
  readonly givingUp: GivingUp | undefined
}

/**
 * Repeats the attempt while another connection is in the way, without blocking the thread; the
 * first time at once, so that nothing else runs between what the caller did before and the attempt,
 * or between it and what it does next. Always in real time, since other processes run in it. Throws
 * `MERSAL_STORE_BUSY` when the time is up.
 */
export function patiently<Result>(
  name: string,
  patience: Patience,
  attempt: () => Result,
): Result | Promise<Result> {
  const deadline = performance.now() + patience.busyTimeoutMs
  const first = oneTry(name, patience.givingUp, attempt)
  return 'result' in first
    ? first.result
    : again({ name, ...patience, deadline }, attempt, first.cause)
}

type Tried<Result> = { readonly result: Result } | { readonly cause: unknown }

function oneTry<Result>(
  name: string,
  givingUp: GivingUp | undefined,
  attempt: () => Result,
): Tried<Result> {
  if (givingUp?.aborted === true) throw givingUp.reason
  try {
    return { result: attempt() }
  } catch (cause) {
    if (!(cause instanceof ForeignTransaction) && !isBusy(cause))
      throw storeError(`${name}: beginning a transaction`, cause)
    return { cause }
  }
}

async function again<Result>(
  patience: Patience & { readonly name: string; readonly deadline: number },
  attempt: () => Result,
  failed: unknown,
): Promise<Result> {
  const { name, busyTimeoutMs, random, givingUp, deadline } = patience
  let cause = failed
  for (let wait = 1; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    if (performance.now() >= deadline) {
      const text = `${name}: other writers held the database for more than ${busyTimeoutMs} ms; keep transactions short`
      throw new MersalError('MERSAL_STORE_BUSY', text, { cause })
    }
    await systemClock.sleep(wait / 2 + (wait / 2) * random(), givingUp?.signal)
    const tried = oneTry(name, givingUp, attempt)
    if ('result' in tried) return tried.result
    cause = tried.cause
  }
}

export function rollBack(handle: Handle): void {
  if (handle.inTransaction) handle.exec('ROLLBACK')
}

export function setSynchronous(handle: Handle, level: 'full' | 'normal'): void {
  handle.exec(`PRAGMA synchronous = ${level === 'full' ? 'FULL' : 'NORMAL'}`)
}

/**
 * SQLite's own waiting would block the thread, so it is off for this call; the owner of the handle
 * keeps his setting.
 */
export function withoutWaiting(handle: Handle, call: () => void): void {
  if (handle.neverWaits) return call()
  const before = handle.get<{ timeout: number }>('PRAGMA busy_timeout')?.timeout ?? 0
  if (before === 0) return call()
  handle.exec('PRAGMA busy_timeout = 0')
  try {
    call()
  } finally {
    handle.exec(`PRAGMA busy_timeout = ${before}`)
  }
}
