import { AsyncResource } from 'node:async_hooks'
import { isExpired } from '../../../core/messages/expiry.ts'
import { nextTurn } from '../../../lib/async/turn.ts'
import { handleAlone } from '../alone.ts'
import type { Reception } from '../attempt.ts'
import type { Registration } from '../handlers.ts'
import { type Member, type SharedPorts, SharedTransaction } from './shared-transaction.ts'
import { reportFailure } from './shared-reports.ts'
import type { Verdict } from './sharing.ts'
import { verdicts } from './verdicts.ts'

interface Waiting<Tx> extends Member<Tx> {
  readonly verdict: PromiseWithResolvers<Verdict>
}

/** The messages of one type that wait for a transaction. */
interface Line<Tx> {
  readonly waiting: Waiting<Tx>[]
  /** Transactions in progress. */
  running: number
  scheduled: boolean
}

/**
 * Handles messages of a type whose handler allows it together, in one transaction: up to `batch` of
 * those that are in hand when a transaction may begin. No message waits for more to come.
 *
 * If a transaction fails, everything in it is rolled back, and each message gets a verdict.
 */
export class SharedTransactions<Tx> {
  readonly #ports: SharedPorts<Tx>
  readonly #lines = new Map<Registration<Tx>, Line<Tx>>()

  constructor(ports: SharedPorts<Tx>) {
    this.#ports = ports
  }

  /**
   * Whether this try may share a transaction. Only a first one does: a message that comes again has
   * failed, asked to come later, or was in hand when a process died. It must not take others along.
   * One that has expired would, unless it is a duplicate.
   */
  takes({ registration, attempt, sharing, delivery }: Reception<Tx>): boolean {
    const isFirst = attempt === 1 && delivery.postponedSince === undefined
    if (registration.batch === 1 || !isFirst || sharing.alone) return false
    return !isExpired(delivery.message, this.#ports.settings.clock.now())
  }

  /** Resolves when the transaction of the message has ended, or its signal aborts before that. */
  async handle(reception: Reception<Tx>): Promise<Verdict> {
    const { registration, signal } = reception
    signal.throwIfAborted()
    const line = this.#lineOf(registration)
    const within = AsyncResource.bind(<Result>(work: () => Result): Result => work())
    const verdict = Promise.withResolvers<Verdict>()
    const entry: Waiting<Tx> = { reception, within, verdict }
    const leave = (): void => {
      const place = line.waiting.indexOf(entry)
      if (place < 0) return
      line.waiting.splice(place, 1)
      verdict.resolve({ kind: 'failed', error: signal.reason })
    }
    signal.addEventListener('abort', leave, { once: true })
    line.waiting.push(entry)
    this.#schedule(registration, line)
    try {
      return await verdict.promise
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  #lineOf(registration: Registration<Tx>): Line<Tx> {
    const known = this.#lines.get(registration)
    if (known !== undefined) return known
    const line = { waiting: [], running: 0, scheduled: false }
    this.#lines.set(registration, line)
    return line
  }

  /** Begins a turn later, so that what comes out of one read of the network is taken together. */
  #schedule(registration: Registration<Tx>, line: Line<Tx>): void {
    if (line.scheduled || !this.#mayBegin(registration, line)) return
    line.scheduled = true
    void nextTurn().then(() => {
      line.scheduled = false
      while (this.#mayBegin(registration, line)) void this.#begin(registration, line)
    })
  }

  #mayBegin({ batch }: Registration<Tx>, { waiting, running }: Line<Tx>): boolean {
    const { concurrency } = this.#ports.settings.receive
    return waiting.length > 0 && running < Math.max(1, Math.floor(concurrency / batch))
  }

  /** Takes the next messages of the line, and gives each of them its verdict. Never rejects. */
  async #begin(registration: Registration<Tx>, line: Line<Tx>): Promise<void> {
    const members = takeNext(line.waiting, registration.batch)
    line.running++
    try {
      await (members.length === 1 ? this.#handleAlone(members) : this.#handleTogether(members))
    } catch (error) {
      // A message that has its verdict keeps it.
      for (const { verdict } of members) verdict.resolve({ kind: 'failed', error })
    } finally {
      line.running--
      this.#schedule(registration, line)
    }
  }

  async #handleAlone(members: readonly Waiting<Tx>[]): Promise<void> {
    const [{ within, reception, verdict }] = members as [Waiting<Tx>]
    await within(() => handleAlone(this.#ports, this.#ports.runUnit, reception))
    verdict.resolve({ kind: 'handled' })
  }

  async #handleTogether(members: readonly Waiting<Tx>[]): Promise<void> {
    const [first] = members as [Waiting<Tx>]
    const outcome = await first.within(() => new SharedTransaction(this.#ports, members).run())
    if (outcome.kind === 'committed') {
      for (const { verdict } of members) verdict.resolve({ kind: 'handled' })
      return
    }
    const found = verdicts(this.#ports.settings, members, outcome)
    for (const [index, { verdict }] of members.entries()) verdict.resolve(found[index] as Verdict)
    reportFailure(this.#ports.settings, members, outcome)
  }
}

/** Takes the first ones: at most `most`, and none behind a second message with the same id. */
function takeNext<Tx>(waiting: Waiting<Tx>[], most: number): readonly Waiting<Tx>[] {
  const ids = new Set<string>()
  let count = 0
  for (const { reception } of waiting) {
    const { id } = reception.delivery.message
    if (count === most || ids.has(id)) break
    ids.add(id)
    count++
  }
  return waiting.splice(0, count)
}
