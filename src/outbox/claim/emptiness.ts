import type { Look } from './scan.ts'

/** One claim that has been answered. */
export interface Claimed {
  readonly number: number
  /** Undefined: it left whole destinations to other claims, and proves nothing of them. */
  readonly look: Look | undefined
  /** It left no destination alone because of its share. */
  readonly whole: boolean
  /** It came to the end of the outbox. */
  readonly ended: boolean
  readonly messages: number
  /** Rows in hand when the claim was sent: later ones of their keys were not to be had then. */
  readonly heldBefore: number
}

/** Knows when a whole sweep has found nothing, with nothing in hand all the while. */
export interface Emptiness {
  /** Returns the number of the claim with which such a sweep began, if this one ends it. */
  claimed(claim: Claimed, held: number): number | undefined
}

export function createEmptiness(): Emptiness {
  let began = 0
  let clean = false
  return {
    claimed({ number, look, whole, ended, messages, heldBefore }, held) {
      const sweeps = look?.kind === 'sweep'
      if (sweeps && look.begins) [began, clean] = [number, true]
      if (messages > 0 || heldBefore > 0 || held > 0 || (sweeps && !whole)) clean = false
      return clean && sweeps && ended ? began : undefined
    },
  }
}
