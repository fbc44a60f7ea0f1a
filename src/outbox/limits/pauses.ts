import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { Pause, PauseBoard } from '../../core/operations.ts'
import type { Clock } from '../../lib/async/clock.ts'

/** What operators have paused, as far as this relay knows. */
export interface Pauses {
  /**
   * The list has been read once, or there is none to be read. Before that, nothing may be
   * published.
   */
  readonly known: boolean
  readonly some: boolean
  readonly destinations: readonly string[]
  readonly keys: readonly string[]
  covers(message: OutgoingMessage): boolean
  /**
   * Reads the list unless that was done a moment ago. Rejects if the store does; then the old list
   * stays.
   */
  refresh(): Promise<void>
  /**
   * Keeps the list young until the signal aborts; never rejects, since the claims tell of a store
   * that is away.
   */
  watch(signal: AbortSignal): Promise<void>
}

/** A list that is younger is good enough for a claim. */
const FRESH_MS = 250
/** However seldom the relay claims, its list is not older. */
const OLDEST_MS = 1000

export interface PausesPorts {
  readonly board: Pick<PauseBoard, 'list'> | undefined
  readonly clock: Clock
  /** Rows that were left alone may be taken now, or the other way round. */
  readonly onChange: () => void
  /**
   * Whether there is, or may be at once, something in hand that a pause could hold up. Else it is
   * enough to read before claims.
   */
  readonly needed: () => boolean
}

const nothing: Pauses = {
  known: true,
  some: false,
  destinations: [],
  keys: [],
  covers: () => false,
  refresh: () => Promise.resolve(),
  watch: () => Promise.resolve(),
}

export function createPauses({ board, ...ports }: PausesPorts): Pauses {
  return board === undefined ? nothing : new PausesOfBoard(board, ports)
}

function alike(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  return left.size === right.size && [...left].every((name) => right.has(name))
}

class PausesOfBoard implements Pauses {
  readonly #board: Pick<PauseBoard, 'list'>
  readonly #ports: Omit<PausesPorts, 'board'>
  #destinations = new Set<string>()
  #keys = new Set<string>()
  #readAt = -Infinity
  #reading: Promise<void> | undefined

  constructor(board: Pick<PauseBoard, 'list'>, ports: Omit<PausesPorts, 'board'>) {
    this.#board = board
    this.#ports = ports
  }

  get known(): boolean {
    return this.#readAt > -Infinity
  }

  get some(): boolean {
    return this.#destinations.size > 0 || this.#keys.size > 0
  }

  get destinations(): readonly string[] {
    return [...this.#destinations]
  }

  get keys(): readonly string[] {
    return [...this.#keys]
  }

  covers({ to, partitionKey }: OutgoingMessage): boolean {
    return (
      this.#destinations.has(destinationKey(to)) ||
      (partitionKey !== undefined && this.#keys.has(partitionKey))
    )
  }

  async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#ports.clock.sleep(
        Math.max(this.#readAt + OLDEST_MS - this.#ports.clock.monotonic(), FRESH_MS),
        signal,
      )
      if (
        signal.aborted ||
        this.#ports.clock.monotonic() - this.#readAt < OLDEST_MS ||
        !this.#ports.needed()
      )
        continue
      // A failed claim is told; this reading would only say the same a second time.
      await this.refresh().catch(() => {})
    }
  }

  #adopt(list: readonly Pause[]): void {
    const names = (kind: Pause['kind']): Set<string> =>
      new Set(list.filter((pause) => pause.kind === kind).map(({ name }) => name))
    const before = { destinations: this.#destinations, keys: this.#keys }
    this.#destinations = names('destination')
    this.#keys = names('key')
    if (!alike(this.#destinations, before.destinations) || !alike(this.#keys, before.keys))
      this.#ports.onChange()
  }

  async #read(): Promise<void> {
    // Its age counts from before the question, since the answer may be as old as that.
    const asked = this.#ports.clock.monotonic()
    const list = await this.#board.list()
    this.#readAt = asked
    this.#adopt(list)
  }

  async refresh(): Promise<void> {
    if (this.#ports.clock.monotonic() - this.#readAt < FRESH_MS) return
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    await this.#reading
  }
}
