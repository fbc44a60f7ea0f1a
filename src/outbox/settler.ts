import type { ClaimedMessage, OutboxStorage, Settlement } from '../core/outbox.ts'
import { emit, type Logger } from '../core/telemetry.ts'
import { backoffMs } from '../lib/backoff.ts'
import type { Clock, Random } from '../lib/clock.ts'
import { errorFields } from '../core/error-text.ts'

export interface Entry {
  readonly row: ClaimedMessage
  readonly settlement: Settlement
  /** End of the claim (monotonic): a settlement that fails after it is dropped, the row falls due by itself. */
  readonly keepUntil: number
  /** Later rows of its key may have waited for this one. */
  readonly unblocks: boolean
  /** Nothing hurries: it may wait a moment for others to go along. */
  readonly lingers?: boolean | undefined
  /** Called once the storage has recorded it. */
  readonly done?: (() => void) | undefined
}

/** Records what became of messages: one `settle` at a time; what arrives meanwhile goes with the next. */
export interface Settler {
  add(entry: Entry): void
  /** Gives up: nothing more is settled and no timer is left. */
  halt(): void
  /** Settlements that were dropped so far. */
  readonly dropped: number
}

export interface SettlerPorts {
  readonly app: string
  readonly storage: Pick<OutboxStorage<never>, 'settle'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** These rows are no longer in the hands of the relay. */
  readonly onGone: (entries: readonly Entry[], how: 'settled' | 'dropped') => void
}

/**
 * How long a settlement that does not hurry waits. Long enough for the process to deal first with what has
 * arrived meanwhile, and for a few others to go along; short against the time in which a crash would make a
 * message be published again.
 */
const LINGER_MS = 2
const RETRY = { firstMs: 100, longestMs: 2000 }
/** After this many failures in a row smaller parts are tried, so that one bad settlement does not hold back the rest. */
const FAILURES_TO_SPLIT = 3

export function createSettler(ports: SettlerPorts): Settler {
  const halted = new AbortController()
  let hurry: AbortController | undefined
  let queue: Entry[] = []
  let working = false
  let failures = 0
  let dropped = 0

  function takePart(): Entry[] {
    const size =
      failures < FAILURES_TO_SPLIT ? queue.length : Math.max(1, Math.floor(queue.length / 2 ** (failures - FAILURES_TO_SPLIT + 1)))
    if (size < queue.length) return queue.splice(0, size)
    const part = queue
    queue = []
    return part
  }

  async function settle(part: readonly Entry[]): Promise<void> {
    const { stale } = await ports.storage.settle(part.map((entry) => entry.settlement))
    if (halted.signal.aborted) return
    if (failures > 0) ports.logger.info({ app: ports.app }, 'the outbox storage settles again')
    failures = 0
    emit('mersal:settle', () => ({ app: ports.app, messages: part.length, stale }))
    if (stale > 0) ports.logger.debug({ app: ports.app, stale }, 'some claims were lost before they were settled')
    for (const entry of part) entry.done?.()
    ports.onGone(part, 'settled')
  }

  async function failed(part: readonly Entry[], thrown: unknown): Promise<void> {
    if (halted.signal.aborted) return
    failures++
    const fields = { app: ports.app, messages: part.length, ...errorFields(thrown) }
    if (failures === 1) ports.logger.warn(fields, 'settling published messages failed; it is tried again while their claims hold')
    const now = ports.clock.monotonic()
    const lost = part.filter((entry) => entry.keepUntil <= now)
    queue.push(...part.filter((entry) => entry.keepUntil > now))
    if (lost.length > 0) {
      dropped += lost.length
      ports.logger.error(
        { ...fields, messages: lost.length },
        'claims ended before they could be settled; these messages will be published again',
      )
      ports.onGone(lost, 'dropped')
    }
    await ports.clock.sleep(backoffMs(RETRY, failures, ports.random), halted.signal)
  }

  /** A moment, or less if something comes that hurries. */
  async function linger(): Promise<void> {
    const over = new AbortController()
    hurry = over
    await ports.clock.sleep(LINGER_MS, over.signal)
    hurry = undefined
  }

  async function work(lingers: boolean): Promise<void> {
    if (lingers) await linger()
    else await Promise.resolve() // what is confirmed in this very moment goes along
    while (queue.length > 0 && !halted.signal.aborted) {
      const part = takePart()
      try {
        await settle(part)
      } catch (thrown) {
        await failed(part, thrown)
      }
    }
    working = false
  }

  return {
    get dropped() {
      return dropped
    },
    add(entry) {
      if (halted.signal.aborted) return
      queue.push(entry)
      const lingers = entry.lingers === true
      if (!lingers) hurry?.abort('hurry')
      if (working) return
      working = true
      void work(lingers)
    },
    halt() {
      halted.abort()
      hurry?.abort('hurry')
    },
  }
}
