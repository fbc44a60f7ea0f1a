import { MersalError } from '../../core/errors/errors.ts'
import type { Looking } from './looks.ts'

/** Those who wait until the outbox is empty, and the proof that it is. */
export interface Drains {
  /** Whether somebody waits. */
  readonly wanted: boolean
  /** Resolves when a sweep that begins after this call proves that nothing is left. */
  wait(signal: AbortSignal | undefined): Promise<void>
  /** A claim is sent. Returns its number. */
  sent(): number
  /** A claim has been answered and its rows are in hand; `held`: rows in hand. */
  answered(claim: Answered, held: number): void
  /** The relay has stopped: nobody will ever know. */
  fail(): void
}

/** One claim that has been answered. */
export interface Answered {
  readonly number: number
  /** Undefined: it left whole destinations to other claims, and proves nothing of them. */
  readonly look: Looking['look'] | undefined
  /** It left no destination alone because of its share. */
  readonly whole: boolean
  /** It came to the end of the outbox. */
  readonly ended: boolean
  readonly messages: number
  /** Rows in hand when the claim was sent: later ones of their keys were not to be had then. */
  readonly heldBefore: number
}

interface Waiting {
  /** Claims up to this number were sent before the wait began, and prove nothing. */
  readonly after: number
  readonly end: (error?: unknown) => void
}

export function createDrains(): Drains {
  const waiting = new Set<Waiting>()
  const emptySweep = findEmptySweeps()
  let claims = 0
  return {
    get wanted() {
      return waiting.size > 0
    },
    async wait(signal) {
      signal?.throwIfAborted()
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const aborted = (): void => entry.end(signal?.reason)
      const entry: Waiting = {
        after: claims,
        end(error) {
          waiting.delete(entry)
          signal?.removeEventListener('abort', aborted)
          if (error === undefined) resolve()
          else reject(givenUp(error))
        },
      }
      waiting.add(entry)
      signal?.addEventListener('abort', aborted, { once: true })
      await promise
    },
    sent: () => ++claims,
    answered(claim, held) {
      const began = emptySweep(claim, held)
      if (began === undefined) return
      for (const entry of waiting) if (began > entry.after) entry.end()
    },
    fail() {
      const text = 'the relay stopped before the outbox was drained'
      for (const entry of waiting) entry.end(new MersalError('MERSAL_APP_STOPPED', text))
    },
  }
}

function givenUp(reason: unknown): Error {
  return reason instanceof Error
    ? reason
    : new Error('the draining was given up', { cause: reason })
}

/**
 * Knows when a whole sweep has found nothing, with nothing in hand all the while: returns the
 * number of the claim with which such a sweep began, if this claim ends it.
 */
export function findEmptySweeps(): (claim: Answered, held: number) => number | undefined {
  let began = 0
  let clean = false
  return ({ number, look, whole, ended, messages, heldBefore }, held) => {
    const sweeps = look?.kind === 'sweep'
    if (sweeps && look.begins) [began, clean] = [number, true]
    if (messages > 0 || heldBefore > 0 || held > 0 || (sweeps && !whole)) clean = false
    return clean && sweeps && ended ? began : undefined
  }
}
