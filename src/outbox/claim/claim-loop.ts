import { errorFields } from '../../core/errors/error-text.ts'
import { emit } from '../../core/telemetry.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import type { Environment } from '../environment.ts'
import { NO_ROOM } from '../limits/capacity.ts'
import type { Grant } from '../limits/shares.ts'
import type { Settler } from '../settle/settler.ts'
import type { Bell } from './bell.ts'
import { claim, type Claim, type ClaimPorts } from './claim.ts'
import type { Dispatch } from './dispatch.ts'

/** What the outbox storage has answered to the claims of a relay. */
export interface ClaimCondition {
  /** Since when a claim has been waiting for its answer, in monotonic milliseconds. */
  askedAt: number | undefined
  /** At least one was answered. */
  answered: boolean
  /** Claims that failed in a row, and the code of the last error. */
  failures: number
  code: string | undefined
}

export function newClaimCondition(): ClaimCondition {
  return { askedAt: undefined, answered: false, failures: 0, code: undefined }
}

export interface ClaimLoopPorts {
  readonly condition: ClaimCondition
  readonly claims: ClaimPorts
  readonly bell: Bell
  readonly dispatch: Pick<Dispatch, 'claimed'>
  readonly settler: Pick<Settler, 'troubled'>
}

/**
 * Claims whenever there may be rows and there is room, one claim at a time, until the signal
 * aborts. Never rejects.
 */
export async function runClaimLoop(ports: ClaimLoopPorts, stopping: AbortSignal): Promise<void> {
  const { inHand, drains, environment } = ports.claims
  const failures = countFailures(environment, ports.condition)
  for (;;) {
    const grant = await waitForLimit(ports, stopping)
    if (grant === undefined) return
    // A look at delayed rows follows no hint.
    if (grant.rows === undefined) ports.bell.clear()
    ports.condition.askedAt = environment.clock.monotonic()
    const claimed = await tryToClaim(ports.claims, grant, failures)
    ports.condition.askedAt = undefined
    if (claimed !== undefined) {
      ports.dispatch.claimed(claimed.rows, claimed.terms)
      drains.answered(claimed.answered, inHand.rows)
    }
    inHand.reserve(0)
    if (claimed === undefined) await environment.clock.sleep(failures.pauseMs(), stopping)
  }
}

/** Waits until there is a reason to look, and room, and reserves it. Undefined: stopping. */
async function waitForLimit(
  ports: ClaimLoopPorts,
  stopping: AbortSignal,
): Promise<Grant | undefined> {
  const { bell, claims } = ports
  const { looks, inHand, holdBacks, environment } = claims
  while (!stopping.aborted) {
    const now = environment.clock.monotonic()
    looks.rows.fallDue(now)
    const dueAt = Math.min(looks.dueAt, holdBacks.nextProbeAt)
    const wanted = bell.hinted || now >= dueAt
    if (!wanted && looks.rows.waiting === undefined) {
      await bell.wait(Math.min(dueAt, looks.rows.dueAt) - now)
      continue
    }
    const grant = nextGrant(ports, now, wanted)
    if (grant === undefined) continue
    if (grant.limit > 0) {
      inHand.reserve(grant.limit)
      return grant
    }
    await waitForRoom(ports, grant, now)
  }
  return undefined
}

/**
 * `wanted`: there is a reason to look elsewhere than at delayed rows. Undefined: those that waited
 * were left to the other looks, so what is to be done has changed.
 */
function nextGrant(
  { bell, claims, settler }: ClaimLoopPorts,
  now: number,
  wanted: boolean,
): Grant | undefined {
  const { inHand, holdBacks, looks } = claims
  const state = {
    held: inHand.rows,
    // After settling has failed, more would be published that cannot be settled either.
    room: () => (settler.troubled ? NO_ROOM : inHand.room()),
    fresh: bell.hinted || looks.othersAreDue(now),
    swept: looks.othersSwept,
  }
  const { waiting, last } = looks.rows
  const rows = waiting === undefined ? undefined : holdBacks.next({ ...state, rows: waiting })
  if (rows?.turn === 'shares' && rows.limit === 0) {
    looks.rows.passOver()
    return undefined
  }
  const room = rows !== undefined && rows.limit > 0
  if (room && !(wanted && last)) return rows
  const grant = holdBacks.next(state)
  return room && grant.limit === 0 ? rows : grant
}

async function waitForRoom(
  { bell, claims }: ClaimLoopPorts,
  { turn }: Grant,
  now: number,
): Promise<void> {
  const { looks, settings } = claims
  const { pollIntervalMs } = settings
  // A hint cannot make room. It ends the wait of a turn for slow destinations, since it may be for
  // another one, that there is room for; and so does a row that falls due.
  const hopeless =
    turn === 'all' || turn === 'others' || bell.hinted || looks.rows.waiting !== undefined
  const dueAt = Math.min(looks.othersDueAt, looks.rows.dueAt)
  if (hopeless) await bell.rest(pollIntervalMs)
  else await bell.wait(Math.min(pollIntervalMs, Math.max(1, dueAt - now)))
}

/** Undefined: the claim failed, and that was logged. */
async function tryToClaim(
  ports: ClaimPorts,
  grant: Grant,
  failures: Failures,
): Promise<Claim | undefined> {
  try {
    const claimed = await claim(ports, grant)
    failures.ended()
    return claimed
  } catch (thrown) {
    ports.looks.atOnce()
    failures.another(thrown)
    return undefined
  }
}

/** Claims that failed in a row. */
interface Failures {
  another(thrown: unknown): void
  ended(): void
  pauseMs(): number
}

const ERROR_BACKOFF = { firstMs: 100, longestMs: 5000 }

function countFailures({ app, logger, random }: Environment, condition: ClaimCondition): Failures {
  return {
    another(thrown) {
      const failures = ++condition.failures
      const fields = { app, ...errorFields(thrown) }
      condition.code = fields.code
      emit('mersal:claim-failed', () => ({ app, code: fields.code }))
      if (failures > 1)
        logger.debug({ ...fields, failures }, 'claiming from the outbox storage still fails')
      else
        logger.error(fields, 'claiming from the outbox storage failed; trying again with backoff')
    },
    ended() {
      if (condition.failures > 0)
        logger.info({ app }, 'the outbox storage can be claimed from again')
      Object.assign(condition, { answered: true, failures: 0, code: undefined })
    },
    pauseMs: () => backoffMs(ERROR_BACKOFF, condition.failures, random),
  }
}
