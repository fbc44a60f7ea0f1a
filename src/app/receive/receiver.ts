import { errorFields, stackOf } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { emit } from '../../core/telemetry.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { isDelay } from '../../core/messages/validation.ts'
import { printable } from '../../lib/text.ts'
import { abortable, linkAbort } from '../../lib/async/linked-abort.ts'
import { compose } from './compose.ts'
import { decode } from './decode.ts'
import { withRetries } from './retry.ts'
import type { Ambient } from '../unit/ambient.ts'
import { Batches } from './shared/batches.ts'
import type { Handlers } from './handlers.ts'
import { type InvokePorts, type Reception, ack, invoke } from './attempt.ts'
import { LONGEST_HOLD_MS, type Stage, excuses } from './excuse.ts'
import type { StoreGate } from './store-gate.ts'
import type { Settings } from '../settings/settings.ts'
import { type Sharing, newSharing } from './shared/sharing.ts'

/** What is known of a delivery in hand. */
interface InHand {
  attempt: number
  skipped: boolean
  /** How far the present try has come. */
  readonly reached: { stage: Stage }
}

export interface ReceiverPorts<Tx> extends InvokePorts<Tx> {
  readonly settings: Settings<Tx>
  readonly ambient: Ambient<Tx>
  readonly handlers: Handlers<Tx>
  /** Undefined for an app without a database. */
  readonly gate: StoreGate | undefined
}

/**
 * Handles deliveries: retries around decoding, the steps of the user, the unit of work and the
 * handler.
 */
export class Receiver<Tx> {
  readonly #ports: ReceiverPorts<Tx>
  readonly #run: (context: Reception<Tx>) => Promise<Disposition>
  readonly #batches: Batches<Tx> | undefined
  readonly #forced = new AbortController()
  #inFlight = 0
  #handled = 0
  #idle = Promise.withResolvers<void>()

  constructor(ports: ReceiverPorts<Tx>) {
    this.#ports = ports
    const { runUnit } = ports
    const { sharing } = ports.settings
    const batches =
      runUnit === undefined || sharing === undefined
        ? undefined
        : new Batches({ ...ports, runUnit, sharing })
    const inside = async (context: Reception<Tx>): Promise<Disposition> => {
      if (batches?.takes(context) !== true) return invoke(ports, context)
      await batches.handle(context)
      return ack
    }
    this.#batches = batches
    this.#run = compose<Reception<Tx>, Disposition>(ports.settings.incoming, inside)
    this.#idle.resolve()
  }

  /** Deliveries that are being handled at this moment. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** Deliveries whose handling has ended, however. */
  get handled(): number {
    return this.#handled
  }

  /** Resolves when no delivery is being handled. */
  async idle(): Promise<void> {
    await this.#idle.promise
    await this.#batches?.idle()
  }

  /** What waits for the store goes back to the queue. */
  stopWaiting(): void {
    this.#ports.gate?.stop()
  }

  /** Gives up what is being handled: it is rolled back and goes back to the queue. */
  abort(reason: Error): void {
    this.#forced.abort(reason)
    this.#batches?.abort(reason)
  }

  /** Never throws. Runs outside of whatever transaction the caller is in. */
  async deliver(delivery: Delivery): Promise<Disposition> {
    if (this.#inFlight++ === 0) this.#idle = Promise.withResolvers()
    try {
      return await this.#ports.ambient.run(undefined, () => this.#handle(delivery))
    } finally {
      this.#handled++
      if (--this.#inFlight === 0) this.#idle.resolve()
    }
  }

  async #handle(delivery: Delivery): Promise<Disposition> {
    const { settings, gate } = this.#ports
    const began = settings.clock.monotonic()
    using link = linkAbort(delivery.signal, this.#forced.signal)
    const { signal } = link
    if (gate?.open === false && !(await gate.passes(signal, LONGEST_HOLD_MS)))
      return { kind: 'release' }
    const state: InHand = { attempt: 0, skipped: false, reached: { stage: 'before' } }
    const policy = { ...settings.receive, random: settings.random }
    const excusing = gate === undefined ? undefined : excuses(gate, settings.random)
    const ports = {
      isGivenUp: () => signal.aborted,
      excuse: async (error: unknown) =>
        (await excusing?.hear({ error, stage: state.reached.stage, signal })) ?? 'charge',
      clock: settings.clock,
    }
    const disposition = await withRetries(policy, delivery, ports, (attempt) => {
      state.attempt = attempt
      return this.#attempt(delivery, signal, state)
    })
    this.#report(delivery, disposition, { ...state, duration: settings.clock.monotonic() - began })
    return disposition
  }

  /** One try; several if it shares its transaction with others which fail. */
  async #attempt(delivery: Delivery, signal: AbortSignal, state: InHand): Promise<Disposition> {
    const sharing = newSharing()
    for (;;) {
      try {
        const disposition = await this.#handleOnce(delivery, signal, state, sharing)
        if (!sharing.again) return disposition
      } catch (error) {
        if (!sharing.again) throw error
      }
      sharing.again = false
      const { ghost } = sharing
      if (ghost !== undefined) await abortable(signal, () => ghost)
    }
  }

  /** With a body of its own, since a handler may have changed the one before. */
  async #handleOnce(
    delivery: Delivery,
    signal: AbortSignal,
    state: InHand,
    sharing: Sharing,
  ): Promise<Disposition> {
    signal.throwIfAborted()
    state.reached.stage = 'before'
    const { settings, handlers } = this.#ports
    const registration = handlers.get(delivery.message.type)
    const decoded = await decode(delivery, registration?.type, settings.serializer)
    if (decoded.kind === 'reject' || registration === undefined) return decoded as Disposition
    const context: Reception<Tx> = {
      delivery,
      body: decoded.body,
      registration,
      attempt: state.attempt,
      sharing,
      signal,
      reached: state.reached,
      onSkipped: () => {
        state.skipped = true
      },
    }
    return checked(await this.#run(context))
  }

  #report(
    delivery: Delivery,
    disposition: Disposition,
    facts: { attempt: number; skipped: boolean; duration: number },
  ): void {
    const { settings } = this.#ports
    const { id, type } = delivery.message
    const outcome = outcomeOf(disposition, facts.skipped)
    emit('mersal:handle', () => ({
      app: settings.name,
      id,
      type,
      attempt: facts.attempt,
      outcome,
      duration: facts.duration,
    }))
    if (disposition.kind !== 'retry' && disposition.kind !== 'reject') return
    const { error } = disposition
    const given = {
      app: settings.name,
      id: printable(id),
      type: printable(type),
      delivery: delivery.attempt,
    }
    const more = { ...given, ...errorFields(error), stack: stackOf(error) }
    if (disposition.kind === 'reject')
      settings.logger.error({ ...more, reason: disposition.reason }, 'message became a dead letter')
    else if (disposition.postponedSince !== undefined) {
      settings.logger.debug(
        { ...more, delayMs: disposition.delayMs },
        'the handler asked for the message again later',
      )
    } else
      settings.logger.warn(
        { ...more, delayMs: disposition.delayMs },
        'handler failed; the message comes again',
      )
  }
}

function outcomeOf(disposition: Disposition, skipped: boolean): string {
  if (disposition.kind === 'reject') return disposition.reason
  if (disposition.kind === 'ack') return skipped ? 'duplicate' : 'handled'
  return disposition.kind === 'retry' && disposition.postponedSince !== undefined
    ? 'postponed'
    : disposition.kind
}

/** A transport could not record anything else, however often it tried. */
function isDisposition(given: Disposition | undefined): boolean {
  switch (given?.kind) {
    case 'ack':
    case 'release':
      return true
    case 'retry':
      return (
        isDelay(given.delayMs) &&
        (given.postponedSince === undefined || Number.isFinite(given.postponedSince))
      )
    case 'reject':
      return typeof given.reason === 'string'
    case undefined:
    default:
      return false
  }
}

function checked(disposition: Disposition): Disposition {
  if (isDisposition(disposition)) return disposition
  throw new MersalError(
    'MERSAL_INVALID_OPTIONS',
    'an incoming step must return the disposition that next() gave it, or one of its own',
  )
}
