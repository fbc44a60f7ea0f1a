import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { aborted } from '../../lib/async/abort.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { type Admission, type Breakers, createBreakers } from '../../outbox/limits/breaker.ts'

/** Waits for a destination that does not answer. */
const AWAY: Backoff = { firstMs: 1000, longestMs: 5000 }

interface OutagePorts {
  readonly clock: Clock
  readonly random: Random
  /** Most documents that wait in hand for a destination; the others are given back. */
  readonly most: number
}

/**
 * Destinations that do not answer, each behind one breaker: an outage counts once, however many
 * documents meet it, and one message at a time asks whether it is over.
 */
export class Outages {
  readonly #ports: OutagePorts
  readonly #breakers: Breakers
  #waiting = 0
  /** Something has changed: whoever waits looks again. */
  #news = Promise.withResolvers<void>()

  constructor(ports: OutagePorts) {
    this.#ports = ports
    const tell = (): void => {
      this.#news.resolve()
      this.#news = Promise.withResolvers()
    }
    this.#breakers = createBreakers({
      ...ports,
      backoff: AWAY,
      onChange(_, state) {
        if (state === 'closed') tell()
      },
      onSooner: tell,
    })
  }

  /** A probe goes alone, so it has to be the first one. */
  admit({ to }: OutgoingMessage, first: boolean): Admission {
    const destination = destinationKey(to)
    if (!first) return this.#breakers.isClosed(destination) ? 'yes' : 'no'
    // Those whose time is over may be probed from now on.
    this.#breakers.excepted()
    return this.#breakers.admit(destination)
  }

  /** `probe`: so it was admitted. */
  answered({ to }: OutgoingMessage, outcome: PublishOutcome, probe: boolean): void {
    const destination = destinationKey(to)
    if (outcome.kind === 'unknown' || outcome.kind === 'unavailable') {
      const back = outcome.kind === 'unavailable' ? outcome.back : undefined
      this.#breakers.failed(destination, outcome.error, { probe, back })
    } else this.#breakers.succeeded(destination)
  }

  /**
   * Waits in hand until the destination of this message may be tried. False: there is no room or no
   * time for that, so the document is given back.
   */
  async over(message: OutgoingMessage, until: number, signal?: AbortSignal): Promise<boolean> {
    const { clock, most } = this.#ports
    if (signal === undefined || signal.aborted || this.#waiting >= most) return false
    const ms = this.restMs(message)
    if (clock.monotonic() + ms >= until) return false
    const done = new AbortController()
    this.#waiting++
    await Promise.race([this.#news.promise, clock.sleep(ms, done.signal), aborted(signal)])
    this.#waiting--
    done.abort()
    return !signal.aborted
  }

  /** Until the destination is worth a try, in milliseconds. */
  restMs({ to }: OutgoingMessage): number {
    const { clock, random } = this.#ports
    const first = backoffMs(AWAY, 1, random)
    if (this.#breakers.isClosed(destinationKey(to))) return first
    const ms = this.#breakers.nextProbeAt - clock.monotonic()
    return Number.isFinite(ms) ? Math.min(Math.max(ms, 50), AWAY.longestMs) : first
  }
}
