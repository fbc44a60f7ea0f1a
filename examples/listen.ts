import { sqliteQueue } from '../src/sqlite.ts'

/**
 * A subscriber of another company: collects what it receives from the broker file. For the tests of
 * the examples.
 */
export class Listener {
  readonly received: unknown[] = []
  readonly #path: string
  #arrived = Promise.withResolvers<void>()
  #consumer: AsyncDisposable | undefined
  #queue: ReturnType<typeof sqliteQueue> | undefined

  constructor(folder: string) {
    this.#path = `${folder}/broker.db`
  }

  async listen(...topics: string[]): Promise<this> {
    this.#queue = sqliteQueue({ path: this.#path, pollIntervalMs: 10 })
    await this.#queue.subscribe('listener', topics)
    this.#consumer = await this.#queue.consume(
      { queue: 'listener', concurrency: 1 },
      async ({ message }) => {
        this.received.push(JSON.parse(Buffer.from(message.body).toString()))
        this.#arrived.resolve()
        this.#arrived = Promise.withResolvers()
        return { kind: 'ack' }
      },
    )
    return this
  }

  /** Resolves when this number of messages have arrived. */
  async until(count: number): Promise<readonly unknown[]> {
    while (this.received.length < count) await this.#arrived.promise
    return this.received
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#consumer?.[Symbol.asyncDispose]()
    await this.#queue?.[Symbol.asyncDispose]()
  }
}
