import type { ClaimedMessage, OutboxStorage } from '../../core/outbox.ts'
import { emit } from '../../core/telemetry.ts'
import { traced } from '../../core/traced.ts'
import type { Environment } from '../environment.ts'
import type { ClaimGate } from '../limits/hold-backs.ts'
import type { Grant } from '../limits/shares.ts'
import type { RelaySettings } from '../options.ts'
import { type Terms, termsFrom } from '../publish/batch.ts'
import type { Reports } from '../reports.ts'
import type { Dispatch } from './dispatch.ts'
import type { Answered, Drains } from './drains.ts'
import type { InHand } from './in-hand.ts'
import type { Looking, Looks } from './looks.ts'
import { bytesOfAll } from './row-bytes.ts'

export interface ClaimPorts {
  readonly environment: Environment
  readonly storage: Pick<OutboxStorage<never>, 'claim'>
  readonly settings: RelaySettings
  readonly looks: Looks
  readonly inHand: InHand
  readonly holdBacks: ClaimGate
  readonly dispatch: Pick<Dispatch, 'unconfirmed' | 'release'>
  readonly drains: Drains
  /** Rows with more bytes are not read. */
  readonly largestBytes: number
  readonly reports: Pick<Reports, 'dead'>
}

/** What a claim brought. */
export interface Claim {
  readonly rows: readonly ClaimedMessage[]
  readonly terms: Terms
  readonly answered: Answered
}

/**
 * Sends one claim. Rejects as the storage does; then nothing of it is in hand. The list of pauses
 * is read beside the claim; only the very first one has to be waited for.
 */
export async function claim(ports: ClaimPorts, grant: Grant): Promise<Claim> {
  const { pauses } = ports.holdBacks
  const refreshed = pauses.refresh()
  if (!pauses.known) await refreshed
  refreshed.catch(() => {}) // it is looked at below
  const number = ports.drains.sent()
  const startedAt = ports.environment.clock.monotonic()
  const heldBefore = ports.inHand.rows
  const looking = ports.looks.begin(grant, startedAt)
  const terms: Terms = { ...termsFrom(startedAt, ports.settings.claimMs), express: false }
  const { rows, messages, ended } = await ask(ports, grant, looking, terms)
  const answered = {
    number,
    look: grant.turn === 'others' ? undefined : looking.look,
    whole: grant.except.length === 0,
    ended,
    messages,
    heldBefore,
  }
  try {
    // What has been paused meanwhile is given back when its turn comes.
    await refreshed
  } catch (thrown) {
    ports.dispatch.release(rows, terms)
    ports.drains.answered(answered, ports.inHand.rows)
    throw thrown
  }
  return { rows, terms, answered }
}

interface Found {
  /** Those that are not confirmed yet. */
  readonly rows: readonly ClaimedMessage[]
  readonly messages: number
  /** The claim came to the end of the outbox. */
  readonly ended: boolean
}

async function ask(
  ports: ClaimPorts,
  grant: Grant,
  looking: Looking,
  terms: Terms,
): Promise<Found> {
  const { environment, holdBacks, looks } = ports
  const { app, clock } = environment
  const maxBytes = ports.inHand.bytesLeft
  const { rows, buried } = await send(ports, grant, looking, maxBytes)
  emit('mersal:claim', () => ({ app, messages: rows.length }))
  // Whatever becomes of a row, it has taken its place in the claim.
  const taken = buried.length === 0 ? rows : [...rows, ...buried].sort(byPosition)
  const full = taken.length >= grant.limit || bytesOfAll(taken) >= maxBytes
  if (holdBacks.took(grant, full)) looks.atOnce()
  const [lowest, highest] = [taken[0]?.position, taken.at(-1)?.position]
  const ended = looking.found({ lowest, highest, full }, clock.monotonic())
  return { rows: ports.dispatch.unconfirmed(rows, terms), messages: rows.length, ended }
}

function byPosition(left: ClaimedMessage, right: ClaimedMessage): number {
  return left.position < right.position ? -1 : 1
}

interface Answer {
  readonly rows: readonly ClaimedMessage[]
  /** Those that the storage has given up itself. */
  readonly buried: readonly ClaimedMessage[]
}

async function send(
  { environment, storage, settings, holdBacks, largestBytes, reports }: ClaimPorts,
  grant: Grant,
  looking: Looking,
  maxBytes: number,
): Promise<Answer> {
  const buried: ClaimedMessage[] = []
  const request = {
    limit: grant.limit,
    maxBytes,
    claimMs: settings.claimMs,
    token: environment.newToken(),
    largestBytes,
    buried(row: ClaimedMessage, settlement: Parameters<Reports['dead']>[1]) {
      buried.push(row)
      reports.dead(row, settlement)
    },
    ...looking.request,
    ...holdBacks.leftAlone(grant),
  }
  const about = { app: environment.app, limit: grant.limit }
  try {
    const rows = await traced(
      'claim',
      () => ({ ...about }),
      () => storage.claim(request),
      (facts, found) => (facts.messages = found.length),
    )
    return { rows, buried }
  } catch (thrown) {
    // Nobody knows what it took.
    looking.failed(environment.clock.monotonic())
    throw thrown
  }
}
