import { MersalError } from '../../../core/errors/errors.ts'
import type { OwnQueues } from '../own-queues.ts'

/** What reads one queue over the connections of its transport. */
export interface Reader extends AsyncDisposable {
  readonly queue: string
  /** Rejects if the first try fails; afterwards it goes on by itself. */
  start(): Promise<void>
  /** Tells the handlers that their messages are lost; the connections are about to be closed. */
  force(reason: Error): void
}

/** The readers of one transport. Closing ends them all, also those that are beginning. */
export class Readers<One extends Reader> {
  readonly #own: Pick<OwnQueues, 'read' | 'unread'>
  readonly #all = new Set<One>()
  #closed: MersalError | undefined

  constructor(own: Pick<OwnQueues, 'read' | 'unread'>) {
    this.#own = own
  }

  /** Of this queue, those that are beginning included. */
  of(queue: string): readonly One[] {
    return [...this.#all].filter((one) => one.queue === queue)
  }

  checkOpen(): void {
    if (this.#closed !== undefined) throw this.#closed
  }

  /** Resolves to what stops it. Rejects if it does not begin, or if all are closed meanwhile. */
  async begin(
    reader: One,
    start: () => Promise<void> = () => reader.start(),
  ): Promise<AsyncDisposable> {
    const { queue } = reader
    this.#all.add(reader)
    try {
      await start()
      this.checkOpen()
    } catch (error) {
      this.#all.delete(reader)
      await reader[Symbol.asyncDispose]()
      this.checkOpen()
      throw error
    }
    this.#own.read(queue)
    return {
      [Symbol.asyncDispose]: async () => {
        if (this.#all.delete(reader)) this.#own.unread(queue)
        await reader[Symbol.asyncDispose]()
      },
    }
  }

  close(): void {
    this.#closed = new MersalError('MERSAL_APP_STOPPED', 'the transport has been closed')
    for (const reader of this.#all) reader.force(this.#closed)
  }
}
