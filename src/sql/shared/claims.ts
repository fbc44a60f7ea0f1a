import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import {
  type ClaimedMessage,
  type ClaimRequest,
  SET_ASIDE_MS,
  type Settlement,
} from '../../core/outbox.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { claimedMessage, type ClaimedRow, damagedMessage } from './rows.ts'
import type { Kind } from './settlements.ts'

/** A claim with its defaults. */
export interface ClaimTerms {
  readonly limit: number
  readonly claimMs: number
  readonly token: string
  readonly from: bigint
  readonly maxBytes: number
  readonly largestBytes: number
  readonly exceptDestinations: readonly string[]
  readonly exceptKeys: readonly string[]
  /** Each once; undefined: rows of all keys. */
  readonly keys: readonly string[] | undefined
  /** Each once; undefined: rows at all positions. */
  readonly positions: readonly bigint[] | undefined
}

/** `readable`: the driver cannot read rows with more bytes. */
export function claimTerms(request: ClaimRequest, readable: number = Infinity): ClaimTerms {
  const { limit, claimMs, token, keys, positions } = request
  return {
    limit,
    claimMs,
    token,
    from: request.fromPosition ?? 0n,
    maxBytes: request.maxBytes ?? CLAIM_BYTES,
    largestBytes: Math.min(request.largestBytes ?? LARGEST_ROW_BYTES, readable),
    exceptDestinations: request.exceptDestinations ?? [],
    exceptKeys: request.exceptKeys ?? [],
    keys: keys === undefined ? undefined : [...new Set(keys)],
    positions: positions === undefined ? undefined : [...new Set(positions)],
  }
}

/** A row that somebody has changed into something that is no message. */
export interface Damaged {
  readonly row: ClaimedRow
  readonly error: MersalError
}

export interface ClaimedRows {
  /** In the order of positions, which no statement that updates promises. */
  readonly messages: ClaimedMessage[]
  readonly damaged: readonly Damaged[]
}

export function readClaimed(rows: readonly ClaimedRow[], token: string): ClaimedRows {
  const messages: ClaimedMessage[] = []
  const damaged: Damaged[] = []
  for (const row of rows) {
    const message = claimedMessage(row, token)
    if (message instanceof MersalError) damaged.push({ row, error: message })
    else messages.push(message)
  }
  messages.sort((a, b) => (a.position < b.position ? -1 : 1))
  return { messages, damaged }
}

export interface BurialPorts {
  readonly settle: (settlements: readonly Settlement[]) => Promise<{ readonly stale: number }>
  /** A damaged row cannot be stored as a dead letter, and was set aside. */
  readonly cannotBury: (cause: unknown) => void
}

/** A damaged row becomes a dead letter at once, since it must not stop the others. */
export async function buryDamaged(
  damaged: readonly Damaged[],
  request: Pick<ClaimRequest, 'token' | 'buried'>,
  ports: BurialPorts,
): Promise<void> {
  // One by one: each can be refused, or taken by somebody else, for itself.
  for (const each of damaged) await buryOne(each, request, ports)
}

async function buryOne(
  { row, error }: Damaged,
  { token, buried }: Pick<ClaimRequest, 'token' | 'buried'>,
  { settle, cannotBury }: BurialPorts,
): Promise<void> {
  const burial = burialOf({ row, error }, token)
  const { position } = burial
  let stale: number
  try {
    stale = (await settle([burial])).stale
  } catch (cause) {
    // What cannot be buried must not stop the others either.
    await settle([{ kind: 'release', position, token, delayMs: SET_ASIDE_MS, error }])
    return cannotBury(cause)
  }
  if (stale === 0) buried?.(damagedMessage(row, token), burial)
}

function burialOf({ row, error }: Damaged, token: string): Kind<'dead'> {
  const position = BigInt(row.position)
  const fate = { reason: 'malformed', error, onDead: 'skip', maybePublished: false } as const
  return { kind: 'dead', position, token, ...fate }
}

/** Says so once a minute at most. */
export function unburied(
  logger: Logger,
  clock: Clock,
  place: Readonly<Record<string, string>>,
): BurialPorts['cannotBury'] {
  const mayTell = seldom(clock, 60_000)
  const text =
    'a damaged row cannot be stored as a dead letter; it is set aside and tried again later'
  return (cause) => {
    if (mayTell('bury')) logger.error({ ...place, ...errorFields(cause) }, text)
  }
}
