import { backoffMs, type Backoff } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'

export type BreakerState = 'closed' | 'open' | 'half-open' | 'probing'

/** Failures in a row, without a success in between, that open a breaker. */
export const FAILURES_TO_OPEN = 3

interface Breaker {
  state: BreakerState
  failures: number
  /** How often it has opened since it was last closed. */
  openings: number
  openUntil: number
  /** Not probed before this time, whatever the transport says. */
  restUntil: number
  back: Promise<void> | undefined
}

/**
 * `yes`: publish. `probe`: publish this one message, and report with `probe: true`. `no`: give it
 * back.
 */
export type Admission = 'yes' | 'probe' | 'no'

/**
 * One breaker per destination. Closed → three failures in a row → open for a backoff → half-open →
 * one message is the probe → closed, or open again for longer. Knows only destinations with
 * trouble.
 */
export interface Breakers {
  readonly troubled: boolean
  /** For a row of the claim. Answering `probe` makes this row the one probe. */
  admit(destination: string): Admission
  /** For the express lane, which never probes. */
  isClosed(destination: string): boolean
  /** The destination answered: it holds or refuses the message. */
  succeeded(destination: string): void
  /**
   * `back` resolves when the transport thinks that the destination answers again: then the probe
   * comes at once.
   */
  failed(destination: string, error: Error, options?: Failure): void
  /** The probe was given back unpublished. */
  abandoned(destination: string): void
  /**
   * Destinations whose rows a claim leaves alone. Lets those whose time is over become half-open.
   */
  excepted(): readonly string[]
  /** The same for a claim that does not look for a probe: those whose time is over stay open. */
  readonly closedOff: readonly string[]
  /** When the next breaker becomes half-open (monotonic milliseconds), or Infinity. */
  readonly nextProbeAt: number
}

interface Failure {
  readonly probe?: boolean
  readonly back?: Promise<void> | undefined
}

export interface BreakerPorts {
  readonly backoff: Backoff
  readonly clock: Clock
  readonly random: Random
  readonly onChange: (destination: string, state: BreakerState, error: Error | undefined) => void
  /** The next probe has become due earlier than planned. */
  readonly onSooner: () => void
}

export function createBreakers(ports: BreakerPorts): Breakers {
  return new BreakerTable(ports)
}

class BreakerTable implements Breakers {
  readonly #ports: BreakerPorts
  readonly #breakers = new Map<string, Breaker>()

  constructor(ports: BreakerPorts) {
    this.#ports = ports
  }

  get troubled(): boolean {
    return this.#breakers.size > 0
  }

  get nextProbeAt(): number {
    let next = Infinity
    for (const breaker of this.#breakers.values()) {
      if (breaker.state === 'open' && breaker.openUntil < next) next = breaker.openUntil
    }
    return next
  }

  admit(destination: string): Admission {
    const breaker = this.#breakers.get(destination)
    if (breaker === undefined || breaker.state === 'closed') return 'yes'
    if (breaker.state !== 'half-open') return 'no'
    this.#enter(destination, breaker, 'probing')
    return 'probe'
  }

  isClosed(destination: string): boolean {
    const state = this.#breakers.get(destination)?.state
    return state === undefined || state === 'closed'
  }

  succeeded(destination: string): void {
    const breaker = this.#breakers.get(destination)
    if (breaker === undefined) return
    this.#breakers.delete(destination)
    if (breaker.state !== 'closed') this.#ports.onChange(destination, 'closed', undefined)
  }

  failed(destination: string, error: Error, options?: Failure): void {
    const breaker: Breaker = this.#breakers.get(destination) ?? {
      state: 'closed',
      failures: 0,
      openings: 0,
      openUntil: 0,
      restUntil: 0,
      back: undefined,
    }
    this.#breakers.set(destination, breaker)
    const probe = options?.probe ?? false
    if (breaker.state === 'closed') breaker.failures++
    if (probe || (breaker.state === 'closed' && breaker.failures >= FAILURES_TO_OPEN))
      this.#open(destination, breaker, error)
    const back = options?.back
    if (breaker.state === 'open' && back !== undefined && back !== breaker.back)
      void this.#followBack(breaker, back)
  }

  abandoned(destination: string): void {
    const breaker = this.#breakers.get(destination)
    if (breaker?.state === 'probing') this.#enter(destination, breaker, 'half-open')
  }

  excepted(): readonly string[] {
    const now = this.#ports.clock.monotonic()
    for (const [destination, breaker] of this.#breakers)
      if (breaker.state === 'open' && now >= breaker.openUntil)
        this.#enter(destination, breaker, 'half-open')
    return this.closedOff
  }

  get closedOff(): readonly string[] {
    return [...this.#breakers]
      .filter(([, { state }]) => state === 'open' || state === 'probing')
      .map(([destination]) => destination)
  }

  #enter(destination: string, breaker: Breaker, state: BreakerState, error?: Error): void {
    breaker.state = state
    this.#ports.onChange(destination, state, error)
  }

  #open(destination: string, breaker: Breaker, error: Error): void {
    breaker.openings++
    const now = this.#ports.clock.monotonic()
    breaker.openUntil = now + backoffMs(this.#ports.backoff, breaker.openings, this.#ports.random)
    breaker.restUntil = now + this.#ports.backoff.firstMs / 2
    this.#enter(destination, breaker, 'open', error)
  }

  /**
   * A transport that is wrong again and again brings about two probes per first step of the
   * backoff, not a busy loop.
   */
  async #followBack(breaker: Breaker, back: Promise<void>): Promise<void> {
    breaker.back = back
    // A transport that breaks its promise and rejects has said nothing more than one that resolves.
    await Promise.allSettled([back])
    if (breaker.back !== back) return
    breaker.back = undefined
    if (breaker.state !== 'open') return
    breaker.openUntil = Math.min(
      breaker.openUntil,
      Math.max(breaker.restUntil, this.#ports.clock.monotonic()),
    )
    this.#ports.onSooner()
  }
}
