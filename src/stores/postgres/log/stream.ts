import type { LogReader } from '../../../core/commit-log.ts'
import { toError } from '../../../lib/async/abort.ts'
import type { Clock } from '../../../lib/async/clock.ts'
import { pgoutputDecoder } from './pgoutput.ts'
import { type Replication, replicate, type ReplicationClient } from './replication.ts'
import { type Transactions, transactions } from './transaction.ts'

export interface StreamPorts {
  readonly client: ReplicationClient
  /** `START_REPLICATION` with its options. */
  readonly start: string
  readonly reader: LogReader
  readonly clock: Clock
  /** Not earlier than the clock of the server at this moment: microseconds since 2000. */
  readonly serverNow: () => bigint
  /** The server is asked for an answer this often. */
  readonly heartbeatMs: number
  /** Called when what is committed from now on comes. */
  readonly onStarted: () => void
}

const DATA = 'w'.charCodeAt(0)
const KEEP_ALIVE = 'k'.charCodeAt(0)
/** Letter, where the data begin, where the log ends, the clock of the server. */
const DATA_HEAD = 25

/** Deals with one frame after the other. While the reader is busy nothing more is read. */
class FrameQueue {
  readonly #decode = pgoutputDecoder()
  readonly #transactions: Transactions
  readonly #waiting: Buffer[] = []
  readonly #broken = Promise.withResolvers<never>()
  #stream: Pick<Replication, 'pause' | 'resume'> | undefined
  #busy = false
  #count = 0
  #done = 0n

  constructor({ reader, serverNow }: Pick<StreamPorts, 'reader' | 'serverNow'>) {
    this.#transactions = transactions(reader, serverNow)
    this.#broken.promise.catch(() => {})
  }

  /** Rejects when a frame could not be read. */
  get broken(): Promise<never> {
    return this.#broken.promise
  }

  /** Frames that were dealt with, to see whether the server is there. */
  get count(): number {
    return this.#count
  }

  /** Frames wait because their reader is busy. */
  get held(): boolean {
    return this.#busy
  }

  /** Everything before this place in the log is done. */
  get done(): bigint {
    return this.#done
  }

  serve(stream: Replication): void {
    this.#stream = stream
  }

  take(frame: Buffer): void {
    this.#waiting.push(frame)
    this.#work()
  }

  /** Until the reader is busy. */
  #work(): void {
    try {
      while (!this.#busy && this.#waiting.length > 0) {
        const wait = this.#deal(this.#waiting.shift() as Buffer)
        if (wait !== undefined) this.#hold(wait)
      }
    } catch (thrown) {
      this.#busy = true
      this.#broken.reject(toError(thrown))
    }
  }

  #hold(wait: Promise<void>): void {
    this.#busy = true
    this.#stream?.pause()
    void wait.then(() => {
      this.#busy = false
      this.#work()
      if (!this.#busy) this.#stream?.resume()
    }, this.#broken.reject)
  }

  #deal(frame: Buffer): Promise<void> | undefined {
    this.#count++
    const letter = frame.readUInt8(0)
    // It comes behind everything before it, and so says how far that goes.
    if (letter === KEEP_ALIVE) this.#done = frame.readBigUInt64BE(1)
    if (letter !== DATA) return undefined
    const message = this.#decode(frame.subarray(DATA_HEAD))
    const wait = this.#transactions.take(message)
    if (message.kind !== 'commit') return wait
    const end = (): void => void (this.#done = message.end)
    if (wait === undefined) end()
    return wait?.then(end)
  }
}

/**
 * Tells the server how far everything is done, and asks it for an answer: a half-open connection
 * reports nothing. Rejects when there was none.
 */
async function heartbeats(
  { clock, heartbeatMs }: StreamPorts,
  inbox: FrameQueue,
  stream: Replication,
  signal: AbortSignal,
): Promise<void> {
  let silent = 0
  while (!signal.aborted) {
    const before = inbox.count
    stream.confirm({ position: inbox.done, answer: true, now: clock.now() })
    await clock.sleep(heartbeatMs, signal)
    silent = inbox.count > before || inbox.held ? 0 : silent + 1
    if (silent === 2) throw new Error('the server has not answered for two heartbeats')
  }
}

/** Reads the stream until the signal aborts. Rejects when it ends. */
export async function readStream(ports: StreamPorts, signal: AbortSignal): Promise<void> {
  const inbox = new FrameQueue(ports)
  const stream = replicate(ports.client, ports.start, (frame) => inbox.take(frame))
  inbox.serve(stream)
  await Promise.race([stream.started, stream.ended])
  ports.onStarted()
  await Promise.race([heartbeats(ports, inbox, stream, signal), stream.ended, inbox.broken])
}
