import type { Msg } from '@nats-io/transport-node'
import { errorFields } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { aborted } from '../../../lib/async/abort.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { inHand } from '../../shared/deliver.ts'
import type { Trouble } from '../../shared/receiving/trouble.ts'
import type { NatsLink, NatsLive } from '../connection/client.ts'
import { type Arrival, arrivalOf } from '../consume/delivery.ts'
import { Pull } from '../consume/pull.ts'
import { AHEAD, type Claim, type Claims } from './claims.ts'
import type { Part } from './layout.ts'

const backoff = { firstMs: 250, longestMs: 3000 }

/** A message of a part. Where it is acknowledged changes with the consumer that has it. */
export interface Item {
  readonly arrival: Arrival
  /** Somebody may have been given it before. */
  readonly isSuspect: boolean
}

/** What those that work on the messages of a part are told. */
export interface Over {
  /** Aborts when nothing more is begun. */
  readonly stopping: AbortSignal
  /** Aborts when another process may have the part. */
  readonly lost: AbortSignal
}

export interface SessionPorts {
  readonly link: NatsLink
  readonly claims: Claims
  readonly told: Trouble
  readonly logger: Logger
  readonly heartbeatMs: number
  /** Makes what works on the messages of this part. It must not reject. */
  readonly worker: (part: Part, over: Over) => (item: Item) => Promise<void>
}

/**
 * Reads one part while it is ours, over whatever connection there is. Messages come in the order of
 * the stream: after a lost connection, on which some of them may have been lost, a new consumer
 * hands out everything again, and what is in hand stays there.
 */
export class Session {
  readonly #ports: SessionPorts
  readonly #part: Part
  readonly #stopping = new AbortController()
  readonly #lost = new AbortController()
  readonly #over = AbortSignal.any([this.#stopping.signal, this.#lost.signal])
  readonly #running = inHand()
  /** Where each message in hand is acknowledged, by its place in the stream. */
  readonly #replies = new Map<number, string>()
  readonly #work: (item: Item) => Promise<void>
  readonly #loop: Promise<void>
  #claim: Claim

  constructor(ports: SessionPorts, part: Part, claim: Claim) {
    this.#ports = ports
    this.#part = part
    this.#claim = claim
    this.#work = ports.worker(part, { stopping: this.#over, lost: this.#lost.signal })
    this.#loop = this.#run()
  }

  get isLost(): boolean {
    return this.#lost.signal.aborted
  }

  /** Another process may have it now. */
  lose(reason: Error): void {
    this.#lost.abort(reason)
  }

  /** Begins nothing more, waits for what runs, and lets others read. Never rejects. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
    await this.#running.settled()
    if (this.isLost) return
    try {
      await this.#ports.claims.drop(this.#part, this.#claim)
    } catch (error) {
      this.#ports.logger.debug(errorFields(error), 'a part of a queue was not given up')
    }
  }

  async #run(): Promise<void> {
    const { link, told } = this.#ports
    let failures = 0
    for (let isFirst = true; !this.#over.aborted; isFirst = false) {
      try {
        const live = await Promise.race([link.connection(), aborted(this.#over)])
        if (live === undefined) return
        if (!isFirst && !(await this.#again())) return
        await this.#listen(live, () => (failures = 0))
      } catch (error) {
        if (this.#over.aborted) return
        told.tell(error)
        await systemClock.sleep(backoffMs(backoff, ++failures, Math.random), this.#over)
      }
    }
  }

  /** False if it is no longer ours. */
  async #again(): Promise<boolean> {
    const { claims } = this.#ports
    const isMine = await claims.isMine(this.#part, this.#claim)
    const claim = isMine ? await claims.take(this.#part) : undefined
    if (claim === undefined) {
      this.lose(new MersalError('MERSAL_UNAVAILABLE', 'another process reads this part of a queue'))
      return false
    }
    this.#claim = claim
    return true
  }

  async #listen(live: NatsLive, works: () => void): Promise<void> {
    const { told, heartbeatMs } = this.#ports
    const { consumer } = this.#claim
    const heard = (): void => {
      works()
      told.over()
    }
    const parts = { stream: this.#part.stream, consumer, heartbeatMs, heard }
    const pull = new Pull(live, parts, (message) => this.#receive(message))
    try {
      // JetStream stops by itself when so many are in hand.
      while (!this.#over.aborted) await pull.take(AHEAD, this.#over)
    } finally {
      await pull.close()
    }
  }

  #receive(message: Msg): void {
    const arrival = arrivalOf(message)
    if (arrival === undefined || this.#over.aborted) return
    const { sequence, delivered, reply } = arrival
    const isInHand = this.#replies.has(sequence)
    this.#replies.set(sequence, reply)
    if (isInHand) return
    const replies = this.#replies
    const item: Item = {
      isSuspect: delivered > 1 || sequence <= this.#claim.handedOut,
      arrival: {
        ...arrival,
        key: `${this.#part.name}-${arrival.key}`,
        get reply() {
          return replies.get(sequence) ?? reply
        },
      },
    }
    this.#running.add(this.#work(item).finally(() => replies.delete(sequence)))
  }
}
