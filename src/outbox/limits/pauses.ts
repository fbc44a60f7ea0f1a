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
  return board === undefined ? nothing : followBoard(board, ports)
}

function alike(left: ReadonlySet<string>, right: ReadonlySet<string>): boolean {
  return left.size === right.size && [...left].every((name) => right.has(name))
}

function followBoard(
  board: Pick<PauseBoard, 'list'>,
  { clock, onChange, needed }: Omit<PausesPorts, 'board'>,
): Pauses {
  let destinations = new Set<string>()
  let keys = new Set<string>()
  let readAt = -Infinity
  let reading: Promise<void> | undefined

  function adopt(list: readonly Pause[]): void {
    const names = (kind: Pause['kind']): Set<string> =>
      new Set(list.filter((pause) => pause.kind === kind).map(({ name }) => name))
    const before = { destinations, keys }
    destinations = names('destination')
    keys = names('key')
    if (!alike(destinations, before.destinations) || !alike(keys, before.keys)) onChange()
  }

  async function read(): Promise<void> {
    // Its age counts from before the question, since the answer may be as old as that.
    const asked = clock.monotonic()
    const list = await board.list()
    readAt = asked
    adopt(list)
  }

  async function refresh(): Promise<void> {
    if (clock.monotonic() - readAt < FRESH_MS) return
    reading ??= read().finally(() => {
      reading = undefined
    })
    await reading
  }

  return {
    get known() {
      return readAt > -Infinity
    },
    get some() {
      return destinations.size > 0 || keys.size > 0
    },
    get destinations() {
      return [...destinations]
    },
    get keys() {
      return [...keys]
    },
    covers({ to, partitionKey }) {
      return (
        destinations.has(destinationKey(to)) ||
        (partitionKey !== undefined && keys.has(partitionKey))
      )
    },
    refresh,
    async watch(signal) {
      while (!signal.aborted) {
        await clock.sleep(Math.max(readAt + OLDEST_MS - clock.monotonic(), FRESH_MS), signal)
        if (signal.aborted || clock.monotonic() - readAt < OLDEST_MS || !needed()) continue
        // A failed claim is told; this reading would only say the same a second time.
        await refresh().catch(() => {})
      }
    },
  }
}
