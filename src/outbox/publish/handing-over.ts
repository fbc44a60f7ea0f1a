import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome, Transport } from '../../core/transport.ts'
import { publishTraced } from '../../core/traced.ts'
import type { MessageGate } from '../limits/hold-backs.ts'
import { brokenAnswer, brokenTransport, isOutcome, noSuchTransport } from './answers.ts'
import type { Batch, Ending } from './batch.ts'
import type { Collected } from './collector.ts'
import { handedOver, type Run, rowAt } from './runs.ts'

export interface HandingOverPorts {
  /** Name of the relay. */
  readonly app: string
  readonly transports: ReadonlyMap<string, Transport>
  readonly gate: MessageGate
  readonly ending: Readonly<Ending>
  readonly isExpired: (message: OutgoingMessage) => boolean
  readonly onAnswer: (batch: Batch, run: Run, index: number, outcome: PublishOutcome) => void
}

/** Hands rows to their transports. */
export class HandingOver {
  readonly #ports: HandingOverPorts

  constructor(ports: HandingOverPorts) {
    this.#ports = ports
  }

  /** Hands the next rows of a run over; false: they may not go now. */
  hand(batch: Batch, run: Run): boolean {
    const { message } = rowAt(run, run.next)
    const admission = this.#ports.gate.mayGo(message, batch.terms.express)
    if (admission === 'no') return false
    if (admission === 'probe') run.probe = destinationKey(message.to)
    const transport = this.#ports.transports.get(message.to.transport)
    if (transport === undefined)
      this.#answerAtOnce(batch, run, noSuchTransport(message.to.transport))
    else this.#collect(batch, run, transport)
    return true
  }

  #collect(batch: Batch, run: Run, transport: Transport): void {
    try {
      handedOver(run, this.#howMany(run, transport), transport.features.patient === true)
    } catch (thrown) {
      return this.#answerAtOnce(batch, run, brokenTransport(transport, thrown))
    }
    for (let index = run.next; index < run.handed; index++)
      batch.collector.add(transport, run, index)
  }

  /** For a row that no transport was asked about. */
  #answerAtOnce(batch: Batch, run: Run, outcome: PublishOutcome): void {
    handedOver(run, 1, false)
    this.#ports.onAnswer(batch, run, run.next, outcome)
  }

  /**
   * How many rows of one key may be unconfirmed at one time: one, unless the transport keeps the
   * order of keys, or sends several messages as one.
   */
  #howMany(run: Run, transport: Transport): number {
    const { ordering, together } = transport.features
    if (ordering === 'per-key' && run.probe === undefined) return this.#stretchOf(run)
    if (together === undefined || run.probe !== undefined) return 1
    const stretch = this.#stretchOf(run)
    if (stretch < 2) return 1
    const rows = run.rows.slice(run.next, run.next + stretch)
    const most = together(rows.flatMap((row) => row?.message ?? []))
    return Math.max(1, Math.min(stretch, most))
  }

  /** How many rows from `next` on go to the same transport, with nothing that holds them back. */
  #stretchOf(run: Run): number {
    const name = rowAt(run, run.next).message.to.transport
    let index = run.next + 1
    for (; index < run.rows.length; index++) {
      const { message, withheldBytes } = rowAt(run, index)
      if (withheldBytes !== undefined || message.to.transport !== name) break
      if (this.#ports.isExpired(message)) break
      if (this.#ports.gate.isPaused(message) || !this.#ports.gate.isReachable(message)) break
    }
    return index - run.next
  }

  /** Calls a transport, and passes its answers on. Never throws. */
  publish(batch: Batch, transport: Transport, collected: Collected): void {
    if (this.#ports.ending.halted) return
    const { messages, runs, indexes } = collected
    const broken = (thrown: unknown): PublishOutcome => brokenAnswer(transport, thrown)
    let answers: readonly Promise<PublishOutcome>[] = []
    let fault: unknown
    try {
      answers = ask(this.#ports.app, batch, transport, collected)
    } catch (thrown) {
      fault = thrown
    }
    for (let at = 0; at < messages.length; at++) {
      const [run, index] = [runs[at] as Run, indexes[at] as number]
      const answer = answers[at]
      if (answer === undefined) this.#ports.onAnswer(batch, run, index, broken(fault))
      else {
        void Promise.resolve(answer).then(
          (given) =>
            this.#ports.onAnswer(batch, run, index, isOutcome(given) ? given : broken(given)),
          (thrown: unknown) => this.#ports.onAnswer(batch, run, index, broken(thrown)),
        )
      }
    }
  }
}

/** A transport that breaks its contract may return anything. */
function ask(
  app: string,
  { controller, withdrawal }: Batch,
  transport: Transport,
  { messages }: Collected,
): readonly Promise<PublishOutcome>[] {
  const options = { signal: controller.signal, withdraw: withdrawal.signal }
  const answers: unknown = publishTraced({ app, by: 'relay' }, transport, messages, options)
  if (!Array.isArray(answers)) throw new TypeError('publish() returned no array of answers')
  return answers as readonly Promise<PublishOutcome>[]
}
