import type { Delivery, Disposition } from '../../core/transport.ts'
import { noteFacts, shown, traced } from '../../core/traced.ts'
import { type InFlight, inFlight } from '../../lib/async/in-flight.ts'
import { abortable, type GivingUp, linkAbort } from '../../lib/async/linked-abort.ts'
import { compose } from '../compose.ts'
import { identified } from '../contracts/foreign.ts'
import { handleAlone } from './alone.ts'
import {
  type AttemptPorts,
  type InHand,
  newProgress,
  type Origin,
  type Progress,
  type Reception,
} from './attempt.ts'
import { decode } from './decode.ts'
import type { Handlers } from './handlers.ts'
import { reportDelivery } from './reports.ts'
import { withRetries } from './retry.ts'
import { SharedTransactions } from './shared/shared-transactions.ts'
import type { Limits } from './limits/limits.ts'
import { checked } from './retries/dispositions.ts'
import { type Repeat, type Sharing, type Verdict, newSharing, undone } from './shared/sharing.ts'
import { hasExpired, settleExpired, withoutAsking } from './retries/expiry.ts'
import { LONGEST_HOLD_MS, excuses } from './store-away/excuse.ts'
import type { StoreGate } from './store-away/store-gate.ts'
import type { Refuse } from '../requests/replying.ts'
import { notNow, ofTenant } from './tenants/tenancy.ts'
import { handleWithoutDatabase } from './without-database.ts'

export interface ReceiverPorts<Tx> extends AttemptPorts<Tx> {
  readonly handlers: Handlers<Tx>
  /** Undefined for an app without a database. */
  readonly gate: StoreGate | undefined
  /** Aborts when the app gives up everything in progress. */
  readonly forced: AbortSignal
  /** Tells the asker, if there is one, that the message was given up. Never rejects. */
  readonly refuse: Refuse
  /** Lets a delivery begin when its limits allow it. */
  readonly limits: Pick<Limits, 'within' | 'waiting' | 'stop'>
}

/** One try, and the count of what runs inside its steps. */
interface Try<Tx> extends Reception<Tx> {
  readonly inside: InFlight
}

/** What one try has come to. */
type Tried = { readonly kind: 'ended'; readonly disposition: Disposition } | Repeat

/**
 * Handles deliveries: retries around decoding, the steps of the user, the unit of work and the
 * handler.
 */
export class Receiver<Tx> {
  readonly #ports: ReceiverPorts<Tx>
  readonly #run: (reception: Try<Tx>) => Promise<Disposition>
  readonly #shared: SharedTransactions<Tx> | undefined
  readonly #inFlight = inFlight()
  readonly #forced: GivingUp
  #handled = 0

  constructor(ports: ReceiverPorts<Tx>) {
    this.#ports = ports
    this.#forced = linkAbort(ports.forced)
    const { runUnit, settings } = ports
    const { sharing } = settings
    if (runUnit !== undefined && sharing !== undefined)
      this.#shared = new SharedTransactions({ ...ports, runUnit, sharing })
    this.#run = compose<Try<Tx>, Disposition>(settings.incoming, async (reception) => {
      // Counted by itself: a step of the user may end before what it has called.
      await this.#inFlight.run(() => reception.inside.run(() => this.#invoke(reception)))
      return { kind: 'ack' }
    })
  }

  /** Counts the deliveries whose handling has ended, however. */
  get handled(): number {
    return this.#handled
  }

  /** Resolves when no delivery is being handled. */
  idle(): Promise<void> {
    return this.#inFlight.idle()
  }

  /** Most deliveries that wait for their limits, beside those that are handled. */
  get waiting(): number {
    return this.#ports.limits.waiting
  }

  /** Gives back to the queue what waits for the store, or for its limits. */
  stopWaiting(): void {
    this.#ports.gate?.stop()
    this.#ports.limits.stop()
  }

  /** Never throws. Runs outside of whatever transaction the caller is in. */
  deliver(delivery: Delivery, from: Origin): Promise<Disposition> {
    return this.#inFlight.run(async () => {
      try {
        return await this.#ports.ambient.run(undefined, () => this.#receive(delivery, from))
      } finally {
        this.#handled++
      }
    })
  }

  #receive(given: Delivery, { transport, system }: Origin): Promise<Disposition> {
    const { settings } = this.#ports
    const known = ofTenant(settings.tenant, identified(settings, given))
    const delivery = known.kind === 'reject' ? given : known.delivery
    const { queue, message, attempt } = delivery
    return traced(
      'receive',
      () => ({ app: settings.name, system, queue, message: shown(message), delivery: attempt }),
      (facts) => {
        if (known.kind !== 'reject') return this.#handle(delivery, transport, facts)
        const nothing = { attempt, skipped: false, duration: 0 }
        this.#refuse(given, transport, known)
        return Promise.resolve(note(facts, reportDelivery(settings, given, known, nothing), known))
      },
    )
  }

  async #handle(
    delivery: Delivery,
    transport: string,
    facts: InHand['facts'],
  ): Promise<Disposition> {
    const link = linkAbort(delivery.givingUp ?? delivery.signal, this.#forced)
    const inside = inFlight()
    try {
      const state = { attempt: 0, progress: newProgress(), facts }
      return await this.#decide({ delivery, transport, link, inside, ...state })
    } finally {
      void inside.idle().then(() => link[Symbol.dispose]())
    }
  }

  async #decide(inHand: InHand): Promise<Disposition> {
    const { settings, gate } = this.#ports
    const { delivery } = inHand
    const began = settings.clock.monotonic()
    const over = withoutAsking(settings, delivery)
    const away = over === undefined && gate?.open === false
    const back = away ? await this.#whileAway(inHand, gate) : undefined
    if (back !== undefined) return note(inHand.facts, back.kind, back)
    const found = over ?? (await this.#inTurn(inHand))
    const expired = hasExpired(found)
    const disposition = expired ? settleExpired(settings, delivery, found) : found
    const outcome = reportDelivery(settings, delivery, disposition, {
      attempt: over === undefined ? inHand.attempt : delivery.attempt,
      skipped: inHand.progress.skipped,
      expired,
      duration: settings.clock.monotonic() - began,
    })
    if (disposition.kind === 'reject') this.#refuse(delivery, inHand.transport, disposition)
    return note(inHand.facts, outcome, disposition)
  }

  #refuse(...given: Parameters<Refuse>): void {
    void this.#inFlight.run(() => this.#ports.refuse(...given))
  }

  /**
   * Waits for the store. What is not to go on goes back: of a tenant at once, since the others need
   * the hands.
   */
  async #whileAway({ delivery, link }: InHand, gate: StoreGate): Promise<Disposition | undefined> {
    const { tenant, random } = this.#ports.settings
    if (tenant !== undefined) return notNow(delivery, random)
    if (await gate.passes(link.signal, LONGEST_HOLD_MS)) return undefined
    return { kind: 'release' }
  }

  /** What no handler takes falls under no limit. */
  #inTurn(inHand: InHand): Promise<Disposition> {
    const { handlers, limits } = this.#ports
    const { delivery, transport, link: givingUp } = inHand
    const registration = handlers.get(delivery.message.type)
    if (registration === undefined) return this.#withRetries(inHand)
    const candidate = { delivery, transport, limits: registration.limits, givingUp }
    return limits.within(candidate, () => this.#withRetries(inHand))
  }

  #withRetries(inHand: InHand): Promise<Disposition> {
    const { settings, gate, handlers } = this.#ports
    const { clock, random, receive } = settings
    const { delivery, link } = inHand
    const retries = handlers.get(delivery.message.type)?.retries ?? receive
    const holdMs = settings.tenant === undefined ? LONGEST_HOLD_MS : 0
    const excusing = gate === undefined ? undefined : excuses(gate, random, holdMs)
    const ports = {
      isGivenUp: () => link.aborted,
      excuse: async (error: unknown) =>
        (await excusing?.judge({
          error,
          stage: inHand.progress.stage,
          signal: link.signal,
        })) ?? 'charge',
      clock,
    }
    return withRetries({ ...retries, random }, delivery, ports, (attempt) => {
      inHand.attempt = attempt
      return this.#attempt(inHand)
    })
  }

  /**
   * Counts as one try, also if it is repeated because others that shared its transaction failed.
   */
  async #attempt(inHand: InHand): Promise<Disposition> {
    let sharing = newSharing
    for (;;) {
      const over = withoutAsking(this.#ports.settings, inHand.delivery)
      if (over !== undefined) return over
      const tried = await this.#tryOnce(inHand, sharing)
      if (tried.kind === 'ended') return tried.disposition
      const { after } = tried
      if (after !== undefined) await abortable(inHand.link.signal, () => after)
      sharing = tried.sharing
    }
  }

  /** Whatever the steps of the user make of a try that is repeated, it is repeated. */
  async #tryOnce(inHand: InHand, sharing: Sharing): Promise<Tried> {
    const progress = newProgress()
    inHand.progress = progress
    try {
      const disposition = await this.#handleOnce(inHand, sharing)
      return progress.repeat ?? { kind: 'ended', disposition }
    } catch (error) {
      if (progress.repeat !== undefined) return progress.repeat
      throw error
    }
  }

  /** With a body of its own, since a handler may have changed the one before. */
  async #handleOnce(
    { delivery, transport, link, inside, attempt, progress }: InHand,
    sharing: Sharing,
  ): Promise<Disposition> {
    link.throwIfAborted()
    const { settings, handlers } = this.#ports
    const registration = handlers.get(delivery.message.type)
    const decoded = await decode(delivery, registration?.type, settings)
    // Without a registration the message has been rejected as one of an unknown type.
    if (decoded.kind === 'reject' || registration === undefined) return decoded as Disposition
    const { body } = decoded
    const reception: Try<Tx> = {
      delivery,
      transport,
      body,
      registration,
      attempt,
      sharing,
      givingUp: link,
      get signal() {
        return link.signal
      },
      progress,
      inside,
    }
    return checked(await this.#run(reception))
  }

  /** The inside of the incoming pipeline: unit of work, message tracker, handler, commit. */
  async #invoke(reception: Reception<Tx>): Promise<void> {
    const { runUnit } = this.#ports
    if (runUnit === undefined) return await handleWithoutDatabase(this.#ports, reception)
    if (this.#shared?.takes(reception) === true)
      return obey(await this.#shared.handle(reception), reception.progress)
    await handleAlone(this.#ports, runUnit, reception)
  }
}

function note(facts: InHand['facts'], outcome: string, disposition: Disposition): Disposition {
  if (facts !== undefined)
    noteFacts(facts, {
      outcome,
      ...('error' in disposition ? { failure: disposition.error } : {}),
    })
  return disposition
}

function obey(verdict: Verdict, progress: Progress): void {
  switch (verdict.kind) {
    case 'handled':
      progress.stage = 'done'
      return
    case 'failed':
      throw verdict.error
    case 'repeat':
      progress.repeat = verdict
      throw undone(verdict)
    default:
      return verdict satisfies never
  }
}
