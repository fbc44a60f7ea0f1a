import { MersalError } from '../../core/errors/errors.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'
import type { MessageState } from '../../core/operations.ts'
import type { Store } from '../../core/store.ts'
import { checkNumber, checkOptions, checkSignal, invalidOption } from '../../core/options.ts'
import { linkAbort } from '../../lib/async/linked-abort.ts'
import { type AppState, appStopped } from '../lifecycle.ts'
import { checkedId } from '../send/outgoing.ts'
import type { Settings } from '../settings/settings.ts'
import { boundedInside } from '../unit/joining.ts'

/** Options of `app.outcome()`. */
export interface OutcomeOptions {
  /** Name of the app that handles the message. Default: this app. */
  readonly consumer?: string
  /**
   * Waits at most this long for `handled` or `dead`, in milliseconds. From 0 to an hour. Default 0:
   * one look.
   */
  readonly waitMs?: number
  /** Ends the waiting when it aborts: the call throws its reason. Default: nothing ends it. */
  readonly signal?: AbortSignal
}

export interface OutcomePorts {
  readonly settings: Pick<Settings<never>, 'name' | 'clock'> & {
    readonly store: Pick<Store<never>, 'operations'> | undefined
  }
  readonly lifecycle: { readonly state: AppState }
  /** Aborts when the app closes its store. */
  readonly closing: AbortSignal
  readonly open: () => Promise<void>
  /** Knows the unit that is open where the call was made. */
  readonly transactions: { outer(): { readonly open: boolean } | undefined }
}

export type Outcomes = (id: string, options: OutcomeOptions) => Promise<MessageState>

/** Pauses between two looks, in milliseconds: each is twice the one before. */
const [FIRST_PAUSE_MS, LONGEST_PAUSE_MS] = [20, 1000]
/** The pauses are this many times as long as the looks before them. */
const LOOKS_SHARE = 9
const CALL = 'outcome()'

/** Tells what became of a message, by its id. */
export function outcomes(ports: OutcomePorts): Outcomes {
  return (id, options) => outcome(ports, id, options)
}

async function outcome(
  ports: OutcomePorts,
  id: string,
  options: OutcomeOptions,
): Promise<MessageState> {
  checkOptions(CALL, options, ['consumer', 'waitMs', 'signal'])
  const { settings, lifecycle, transactions } = ports
  const { consumer = settings.name, signal } = options
  checkSignal(`${CALL}.signal`, signal)
  if (!isName(consumer)) throw invalidOption(`${CALL}.consumer`, `expected ${nameRule}`)
  const bounds = { default: 0, min: 0, max: 3_600_000 }
  const waitMs = checkNumber(`${CALL}.waitMs`, options.waitMs, bounds)
  const message = { messageId: checkedId(id), consumer }
  const trace = settings.store?.operations?.trace
  if (trace === undefined) throw cannotTell()
  if (lifecycle.state === 'stopped') throw appStopped(settings.name, CALL)
  using link = linkAbort(signal)
  using closing = linkAbort(ports.closing)
  closing.follow(() => link.abort(appStopped(settings.name, CALL)))
  const abort = (reason: Error): void => link.abort(reason)
  const inside = { what: CALL, clock: settings.clock, outer: transactions.outer(), abort }
  return await boundedInside(inside, async () => {
    await ports.open()
    return await settled(settings.clock, link.signal, waitMs, () => trace(message))
  })
}

/** Looks until the state is a last one, or the time is over. */
async function settled(
  clock: OutcomePorts['settings']['clock'],
  signal: AbortSignal,
  waitMs: number,
  look: () => Promise<MessageState>,
): Promise<MessageState> {
  const until = clock.monotonic() + waitMs
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted()
    const began = clock.monotonic()
    const state = await look()
    const now = clock.monotonic()
    const leftMs = until - now
    // A look at a long outbox is expensive, and many may ask.
    pauseMs = Math.max(pauseMs, LOOKS_SHARE * (now - began))
    if (state === 'handled' || state === 'dead' || leftMs <= 0) return state
    await clock.sleep(Math.min(pauseMs, leftMs), signal)
  }
}

function cannotTell(): MersalError {
  const text = `${CALL}: the store of this app cannot tell, or there is none: give the app a store`
  return new MersalError('MERSAL_INVALID_OPTIONS', text)
}
