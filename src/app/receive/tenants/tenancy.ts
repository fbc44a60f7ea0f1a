import { MersalError } from '../../../core/errors/errors.ts'
import { type Envelope, tenantHeader } from '../../../core/messages/message.ts'
import type { Delivery, Disposition } from '../../../core/transport.ts'
import { printable } from '../../../lib/text.ts'
import type { Identified } from '../../contracts/foreign.ts'

/** The tenant that the header of a message names. */
export function namedTenant({ headers }: Pick<Envelope, 'headers'>): string | undefined {
  return Object.hasOwn(headers, tenantHeader) ? headers[tenantHeader] : undefined
}

/** In an app of a tenant, rejects what belongs to nobody or to somebody else. */
export function ofTenant(tenant: string | undefined, known: Identified): Identified {
  if (tenant === undefined || known.kind === 'reject') return known
  const named = namedTenant(known.delivery.message)
  return named === tenant ? known : unknownTenant(named)
}

/** What becomes of a message whose tenant this process does not have. */
export function unknownTenant(named: string | undefined): Extract<Disposition, { kind: 'reject' }> {
  const text =
    named === undefined
      ? `the message came without the header '${tenantHeader}': let its sender set it, or name its tenant with tenantOf`
      : `the message is for the tenant '${printable(named, 100)}', which this app does not have: add the tenant, then retry the dead letter`
  const error = new MersalError('MERSAL_UNKNOWN_TENANT', text)
  return { kind: 'reject', reason: 'unknown-tenant', error }
}

/** The first wish of a message whose handler never asked for it again counts from when it is made. */
const NO_WISH_YET: number = Date.UTC(9999, 0, 1)
const AWAY_MS = 2000

/** A delivery whose database is away: it comes again later, and is charged nothing. */
export function notNow(
  { postponedSince = NO_WISH_YET }: Pick<Delivery, 'postponedSince'>,
  random: () => number,
  cause?: unknown,
): Extract<Disposition, { kind: 'retry' }> {
  const delayMs = Math.round(AWAY_MS * (0.5 + random()))
  const text = `the tenant's database is away; the message comes again in ${delayMs} ms`
  const error = new MersalError('MERSAL_LIMITED', text, cause === undefined ? {} : { cause })
  return { kind: 'retry', delayMs, postponedSince, error }
}
