import { errorFields } from '../core/errors/error-text.ts'
import { type Envelope, tenantHeader } from '../core/messages/message.ts'
import type { Delivery, Disposition } from '../core/transport.ts'
import { linkAbort } from '../lib/async/linked-abort.ts'
import { kindOfAnswer } from '../lib/async/late-answer.ts'
import { fulfilledWithin } from '../lib/async/within.ts'
import { withMessage } from '../app/contracts/foreign.ts'
import { Limits } from '../app/receive/limits/limits.ts'
import type { Limit } from '../app/receive/limits/options.ts'
import { reportDelivery } from '../app/receive/reports.ts'
import { namedTenant, notNow, unknownTenant } from '../app/receive/tenants/tenancy.ts'
import { isTenantName } from '../app/settings/tenant.ts'
import type { TenantsSettings } from './options.ts'
import type { Roster } from './roster.ts'

export interface DispatchPorts<Tx> {
  readonly settings: TenantsSettings<Tx>
  readonly roster: Pick<Roster, 'judge' | 'has'>
  /** Opens the app of a tenant. Rejects if that is not possible now. */
  readonly open: (tenant: string) => Promise<unknown>
}

/** Hands a delivery to the app of a tenant; undefined if that does not receive. */
export type Hand = (tenant: string, delivery: Delivery) => Promise<Disposition> | undefined

/** How long a delivery stays in hand while its tenant is opened, in milliseconds. */
const OPENING_MS = 2000
/** Messages of one tenant that may wait in memory: at least, and at most. */
const LEAST_SHARE = 20
const MOST_SHARE = 500
/** Tenants that may fill their shares at the same time. */
const GROUPS_IN_ROOM = 5
const MOST_ROOM = 1000

/**
 * Gives each delivery to the tenant that its header names. Of one tenant no more are in hand than
 * its app takes; the hands of the others are theirs.
 */
export class Dispatch<Tx> {
  readonly #ports: DispatchPorts<Tx>
  readonly #limits: Limits
  #stopping = false

  constructor(ports: DispatchPorts<Tx>) {
    this.#ports = ports
    const { clock, random, concurrency, each } = ports.settings
    const receive = { concurrency, limits: [limitOf(each)] }
    this.#limits = new Limits({ clock, random, receive, ofTypes: () => [] })
  }

  /** Deliveries to ask for: those that are handled, and those that wait. */
  get concurrency(): number {
    return this.#ports.settings.concurrency + this.#limits.waiting
  }

  stop(): void {
    this.#stopping = true
    this.#limits.stop()
  }

  /** Never rejects. */
  async deliver(given: Delivery, transport: string, hand: Hand): Promise<Disposition> {
    if (this.#stopping) return { kind: 'release' }
    const { settings, roster } = this.#ports
    const delivery = withTenant(given, this.#tenantOf(given.message))
    const named = namedTenant(delivery.message)
    if (named === undefined || !isTenantName(named))
      return this.#unknown(delivery, transport, named)
    const judgement = await roster.judge(named)
    if (judgement === 'unknown') return this.#unknown(delivery, transport, named)
    const problem = judgement === 'later' ? {} : await this.#opened(named)
    if (problem !== undefined)
      return this.#report(delivery, notNow(delivery, settings.random, problem.error))
    using givingUp = linkAbort(delivery.givingUp ?? delivery.signal)
    const candidate = { delivery, transport, limits: [], givingUp }
    return this.#limits.within(candidate, async () => {
      const handed = hand(named, delivery)
      if (handed !== undefined) return handed
      // It was closed while the delivery waited.
      if (this.#stopping) return { kind: 'release' }
      if (!roster.has(named)) return this.#unknown(delivery, transport, named)
      return this.#report(delivery, notNow(delivery, settings.random))
    })
  }

  /** Why the tenant is not open. */
  async #opened(tenant: string): Promise<{ readonly error?: unknown } | undefined> {
    const { settings, open } = this.#ports
    try {
      const opening = open(tenant)
      return (await fulfilledWithin(settings.clock, OPENING_MS, opening)) ? undefined : {}
    } catch (error) {
      return { error }
    }
  }

  #tenantOf(message: Envelope): string | undefined {
    const { tenantOf, logger, name: app } = this.#ports.settings
    const named = namedTenant(message)
    if (named !== undefined || tenantOf === undefined) return named
    try {
      const tenant: unknown = tenantOf(message)
      if (tenant === undefined || typeof tenant === 'string') return tenant
      logger.error({ app, answer: `it returned ${kindOfAnswer(tenant)}` }, OF_NO_USE)
    } catch (error) {
      logger.error({ app, ...errorFields(error) }, OF_NO_USE)
    }
    return undefined
  }

  async #unknown(
    delivery: Delivery,
    transport: string,
    named: string | undefined,
  ): Promise<Disposition> {
    const rejection = unknownTenant(named)
    this.#report(delivery, rejection)
    await this.#ports.settings.refuse(delivery, transport, rejection)
    return rejection
  }

  #report(delivery: Delivery, disposition: Disposition): Disposition {
    const facts = { attempt: delivery.attempt, skipped: false, duration: 0 }
    reportDelivery(this.#ports.settings, delivery, disposition, facts)
    return disposition
  }
}

const OF_NO_USE = 'tenantOf is of no use here; the message becomes a dead letter'

/** The delivery with the header that its sender left out. */
function withTenant(delivery: Delivery, tenant: string | undefined): Delivery {
  const { message } = delivery
  if (tenant === undefined || namedTenant(message) !== undefined) return delivery
  return withMessage(delivery, {
    ...message,
    headers: { ...message.headers, [tenantHeader]: tenant },
  })
}

/** What one tenant may have in hand, and how much waits for that. */
function limitOf(concurrency: number): Limit {
  const share = Math.min(Math.max(2 * concurrency, LEAST_SHARE), MOST_SHARE)
  return {
    concurrency,
    intervalMs: 0,
    groupOf: namedTenant,
    share,
    room: Math.min(share * GROUPS_IN_ROOM, MOST_ROOM),
  }
}
