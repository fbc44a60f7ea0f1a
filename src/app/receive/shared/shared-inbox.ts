import { MersalError } from '../../../core/errors/errors.ts'
import type { MessageTracker } from '../../../core/tracker.ts'

export interface SharedInboxPorts<Tx> {
  readonly tracker: MessageTracker<Tx> | undefined
  /** Name of the app. */
  readonly consumer: string
  readonly tx: Tx
  /** No two of them are the same. */
  readonly messageIds: readonly string[]
}

/**
 * The inbox of messages that share a transaction. Records all of them in one statement where the
 * tracker can, else each one before its handler.
 */
export class SharedInbox<Tx> {
  readonly #ports: SharedInboxPorts<Tx>
  readonly #answers: ('first' | 'duplicate')[] = []

  constructor(ports: SharedInboxPorts<Tx>) {
    this.#ports = ports
  }

  get tx(): Tx {
    return this.#ports.tx
  }

  /** All messages are recorded before the first handler is called. */
  get together(): boolean {
    const { tracker } = this.#ports
    return tracker === undefined || tracker.many !== undefined
  }

  /** Records all of them, where the tracker can. Call it before `isDuplicate`. */
  async open(): Promise<void> {
    const { tracker, tx, consumer, messageIds } = this.#ports
    const many = tracker?.many
    if (many === undefined) return
    const answers = await many.track(tx, { consumer, messageIds })
    this.#answers.push(...answers)
    if (answers.length === messageIds.length) return
    const text = `the tracker gave ${answers.length} answers for ${messageIds.length} ids: give one for each, in their order`
    throw new MersalError('MERSAL_STORE_FAILED', text)
  }

  /** Whether the message in this place has been handled before. Call it once for each message. */
  async isDuplicate(index: number): Promise<boolean> {
    const { tracker, tx, consumer, messageIds } = this.#ports
    if (tracker !== undefined && tracker.many === undefined) {
      const messageId = messageIds[index] as string
      this.#answers[index] = await tracker.track(tx, { consumer, messageId })
    }
    return this.#answers[index] === 'duplicate'
  }

  /** Ids of the messages that this transaction has recorded so far. */
  recorded(): readonly string[] {
    return this.#ports.messageIds.filter((_, index) => this.#answers[index] === 'first')
  }
}
