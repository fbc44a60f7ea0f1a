/**
 * A message that kills its relay shows as attempts above the limit. The attempts were counted for
 * the whole claim, so its neighbours are suspects too: in slow mode rows go one by one, and only
 * the culprit is charged.
 */
export interface SlowMode {
  readonly on: boolean
  enter(): void
  /** A claim in slow mode held a suspect, or none. */
  saw(suspect: boolean): void
}

/** Claims in a row without a suspect that end slow mode. */
export const CLAIMS_TO_LEAVE = 16
/** Attempts above `maxAttempts` that a suspect gets, alone, before it is given up. */
export const EXTRA_ATTEMPTS = 3

export function createSlowMode(onChange: (on: boolean) => void): SlowMode {
  let on = false
  let clean = 0
  return {
    get on() {
      return on
    },
    enter() {
      clean = 0
      if (on) return
      on = true
      onChange(true)
    },
    saw(suspect) {
      if (!on) return
      clean = suspect ? 0 : clean + 1
      if (clean < CLAIMS_TO_LEAVE) return
      on = false
      onChange(false)
    },
  }
}
