import type { ChannelModel } from 'amqplib'
import { errorFields } from '../../../core/errors/error-text.ts'
import { toError } from '../../../lib/async/abort.ts'
import type { RabbitSettings } from '../options.ts'
import type { Reader } from './channel.ts'
import { releaseLock, takeLock } from './lock.ts'

interface Held {
  readonly model: ChannelModel
  readonly reader: Reader
  leaving?: Promise<void>
}

/**
 * Readers of this process, each under a lock of its own. A lock that is held and not read under
 * keeps everybody from reading, so that it is released on every way out.
 */
export class Holdings {
  readonly #settings: Pick<RabbitSettings, 'connectTimeoutMs' | 'logger'>
  readonly #onLost: (lock: string) => void
  readonly #held = new Map<string, Held>()

  /**
   * `onLost`: a reader reads no more that no other process is to have. Not when its queue was
   * deleted: one that is made again in the same moment keeps consumers that are told nothing.
   */
  constructor(
    settings: Pick<RabbitSettings, 'connectTimeoutMs' | 'logger'>,
    onLost: (lock: string) => void = () => {},
  ) {
    this.#settings = settings
    this.#onLost = onLost
  }

  /** Also what is being left: its handlers have not ended yet, whose messages come again. */
  has(lock: string): boolean {
    return this.#held.has(lock)
  }

  /** What is not being left. */
  staying(): readonly string[] {
    return [...this.#held].filter(([, held]) => held.leaving === undefined).map(([lock]) => lock)
  }

  /** True if the lock belongs to this connection now. `isFree` is asked under the lock. */
  async lock(model: ChannelModel, lock: string, isFree: () => Promise<boolean>): Promise<boolean> {
    try {
      if (!(await takeLock(model, lock, this.#settings.connectTimeoutMs))) return false
      if (await isFree()) return true
    } catch (error) {
      // The broker may have given it all the same.
      await this.#release(model, lock)
      throw error
    }
    await this.#release(model, lock)
    return false
  }

  /** Reads under a lock that was taken. Resolves to what has gone wrong. Never rejects. */
  async read(
    model: ChannelModel,
    lock: string,
    open: () => Promise<Reader>,
  ): Promise<Error | undefined> {
    try {
      const held: Held = { model, reader: await open() }
      this.#held.set(lock, held)
      const onLost = (): void => {
        if (held.leaving === undefined && !held.reader.cancelled) this.#onLost(lock)
      }
      held.reader.lost.addEventListener('abort', onLost, { once: true })
      return undefined
    } catch (error) {
      await this.#release(model, lock)
      return toError(error)
    }
  }

  /** Waits for what has been begun. Never rejects. */
  async leave(lock: string): Promise<void> {
    const held = this.#held.get(lock)
    if (held !== undefined) await (held.leaving ??= this.#leave(lock, held))
  }

  async leaveAll(): Promise<void> {
    await Promise.all([...this.#held.keys()].map((lock) => this.leave(lock)))
  }

  /**
   * Begins to leave what reads no more, and what has held a message for this long: it goes back, in
   * order, and comes again.
   */
  leaveSpent(longestHeldMs: number): void {
    for (const [lock, { reader, leaving }] of this.#held) {
      const spent = reader.lost.aborted || reader.heldMs() >= longestHeldMs
      if (!spent || leaving !== undefined) continue
      if (!reader.lost.aborted) this.#onLost(lock)
      void this.leave(lock)
    }
  }

  async #leave(lock: string, { model, reader }: Held): Promise<void> {
    await reader.stop()
    await this.#release(model, lock)
    this.#held.delete(lock)
  }

  /** A lock that is not released goes with its connection. One of somebody else stays his. */
  async #release(model: ChannelModel, lock: string): Promise<void> {
    const { connectTimeoutMs, logger } = this.#settings
    try {
      await releaseLock(model, lock, connectTimeoutMs)
    } catch (error) {
      logger.debug({ lock, ...errorFields(error) }, 'a lock was not released')
    }
  }
}
