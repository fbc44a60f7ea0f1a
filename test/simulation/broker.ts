import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { PublishOptions, PublishOutcome, Transport } from '../../src/core/transport.ts'
import type { Ledger, Record } from './ledger.ts'
import type { Owner, Scheduler } from './scheduler.ts'

export interface BrokerFaults {
  refuse: number
  unknownLost: number
  unknownAccepted: number
  /** The frame arrives long after the answer was given up, but less than one claim time later. */
  late: number
  unavailable: number
}

/** What a process wants to know of its own publishes. */
export interface Occasions {
  readonly published: (record: Record) => void
  /** It published a killer. */
  readonly crash: () => void
}

export interface Broker {
  readonly faults: BrokerFaults
  /** Destination names that do not answer now. */
  readonly down: Set<string>
  /** Destination names that confirm so many milliseconds late. */
  readonly slow: Map<string, number>
  transportFor(owner: Owner, on: Occasions): Transport
}

const unsure = (text: string): PublishOutcome => ({ kind: 'unknown', error: new Error(text) })

const gone = (text: string): PublishOutcome => ({ kind: 'unavailable', error: new Error(text) })

/** Where a message goes that the broker takes; it may still be refused there. */
export type Queues = (message: OutgoingMessage) => PublishOutcome

/** The schedules need no queues: what is accepted is only written down. */
const nowhere: Queues = () => ({ kind: 'confirmed' })

/** Most milliseconds between a publish and its late acceptance. */
export const LATEST_FRAME_MS = 700

export function createBroker(
  scheduler: Scheduler,
  ledger: Ledger,
  ordering: 'none' | 'per-key',
  queues: Queues = nowhere,
): Broker {
  const faults: BrokerFaults = {
    refuse: 0,
    unknownLost: 0,
    unknownAccepted: 0,
    late: 0,
    unavailable: 0,
  }
  const down = new Set<string>()
  const slow = new Map<string, number>()

  function accept(record: Record): void {
    if (!record.committed)
      ledger.violations.push(`phantom: ${record.id} was accepted but not committed`)
    record.accepted.push(ledger.nextNumber())
    record.acceptedAt ??= ledger.now()
    ledger.write(`accept ${record.id}`)
  }

  function chooseAnswer(
    record: Record,
  ): 'confirm' | 'refuse' | 'lost' | 'unsure' | 'late' | 'unavailable' {
    if (down.has(record.to)) return scheduler.chance(0.7) ? 'unavailable' : 'lost'
    if (record.nature === 'poison') return 'refuse'
    let dice = scheduler.random()
    if ((dice -= faults.refuse) < 0) return 'refuse'
    if ((dice -= faults.unknownLost) < 0) return 'lost'
    if ((dice -= faults.unknownAccepted) < 0) return 'unsure'
    if ((dice -= faults.late) < 0) return 'late'
    if ((dice -= faults.unavailable) < 0) return 'unavailable'
    return 'confirm'
  }

  /** Whether the broker deals with it now, and what it answers when. */
  function handle(
    record: Record,
    message: OutgoingMessage,
  ): { readonly outcome: PublishOutcome; readonly afterMs: number } {
    const answer = chooseAnswer(record)
    const latency = scheduler.between(1, 15) + (slow.get(record.to) ?? 0)
    if (answer !== 'confirm') {
      record.faults++
      ledger.write(`${answer} ${record.id}`)
    }
    switch (answer) {
      case 'confirm': {
        const outcome = queues(message)
        if (outcome.kind === 'confirmed') accept(record)
        return { outcome, afterMs: latency }
      }
      case 'refuse':
        record.refusals++
        return {
          outcome: { kind: 'refused', reason: 'refused', error: new Error('no'), permanent: false },
          afterMs: latency,
        }
      case 'unsure':
        accept(record)
        return { outcome: unsure('no answer'), afterMs: scheduler.between(40, 120) }
      case 'late':
        scheduler.after(scheduler.between(150, LATEST_FRAME_MS), undefined, () => accept(record))
        return { outcome: unsure('no answer'), afterMs: scheduler.between(40, 120) }
      case 'lost':
        return { outcome: unsure('no answer'), afterMs: scheduler.between(40, 120) }
      case 'unavailable':
      default:
        return {
          outcome: { kind: 'unavailable', error: new Error('connection refused') },
          afterMs: latency,
        }
    }
  }

  function transportFor(owner: Owner, on: Occasions): Transport {
    let closed = false

    /**
     * With `per-key`, what comes after a message that was not confirmed does not reach the broker.
     */
    function send(
      message: OutgoingMessage,
      record: Record,
      broken: Set<string>,
      latency: number,
    ): Promise<PublishOutcome> {
      return new Promise((resolve) => {
        scheduler.after(latency, undefined, () => {
          if (ordering === 'per-key' && record.key !== undefined && broken.has(record.key)) {
            record.faults++
            scheduler.after(5, owner, () => resolve(unsure('an earlier message of the key failed')))
            return
          }
          const { outcome, afterMs } = handle(record, message)
          if (outcome.kind !== 'confirmed' && record.key !== undefined) broken.add(record.key)
          scheduler.after(afterMs, owner, () => resolve(outcome))
        })
      })
    }

    function publish(
      messages: readonly OutgoingMessage[],
      { signal }: PublishOptions = {},
    ): Promise<PublishOutcome>[] {
      const broken = new Set<string>()
      // Frames of one call travel together where keys keep their order, else in any order.
      const together = scheduler.between(1, 15)
      let step = 0
      return messages.map((message) => {
        const { id } = message
        const record = ledger.records.get(id)
        if (record === undefined) throw new Error(`nobody wrote ${id}`)
        if (closed) return Promise.resolve(gone('the transport is closed'))
        if (!owner.alive) return new Promise(() => {})
        if (signal?.aborted === true) return Promise.resolve(gone('given up before it was sent'))
        record.publishes++
        record.lastPublishAt = ledger.now()
        on.published(record)
        ledger.write(`publish ${id} by ${owner.name}`)
        if (record.nature === 'killer') {
          on.crash()
          return new Promise(() => {})
        }
        const sending = send(
          message,
          record,
          broken,
          ordering === 'per-key' ? together + 0.001 * step++ : scheduler.between(1, 15),
        )
        return signal === undefined ? sending : unlessAborted(sending, signal, record)
      })
    }

    return {
      name: 'broker',
      features: { ordering, maxMessageBytes: 2_000_000 },
      publish,
      subscribe: () => Promise.reject(new Error('not simulated')),
      consume: () => Promise.reject(new Error('not simulated')),
      [Symbol.asyncDispose]: () => {
        closed = true
        return Promise.resolve()
      },
    }
  }

  return { faults, down, slow, transportFor }
}

/** An abort ends the waiting, not the message: what was written may still arrive. */
function unlessAborted(
  sending: Promise<PublishOutcome>,
  signal: AbortSignal,
  record: Record,
): Promise<PublishOutcome> {
  return new Promise((resolve) => {
    const abort = (): void => {
      record.faults++
      resolve(unsure('the waiting was given up'))
    }
    signal.addEventListener('abort', abort, { once: true })
    void sending.then((outcome) => {
      signal.removeEventListener('abort', abort)
      resolve(outcome)
    })
  })
}
