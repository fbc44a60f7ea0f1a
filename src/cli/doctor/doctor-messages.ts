import type { Finding, KeyOverview, OutboxOverview } from '../../core/operations.ts'
import { countOf } from '../output.ts'
import type { TransportQueues } from '../../operate/queues.ts'

/** Most messages that are named of each kind. */
const MOST = 10
/** A relay takes a message up sooner, also after the death of another one. */
const NOBODY_CAME_MS = 30_000

function bounded(findings: readonly Finding[], subject: string): readonly Finding[] {
  const further = findings.length - MOST
  if (further <= 0) return findings
  const level = findings.slice(MOST).some((one) => one.level === 'fault') ? 'fault' : 'warning'
  return [
    ...findings.slice(0, MOST),
    { level, subject, text: `and ${further} more`, remedy: "'mersal status' shows all" },
  ]
}

/**
 * What does not get through to the broker: refused messages, dead letters, keys that these hold
 * back.
 */
export function examineOutbox(overview: OutboxOverview): readonly Finding[] {
  const { destinations, keys } = overview
  const refused = destinations.filter((row) => (row.refused ?? 0) > 0).map(refusal)
  const dead = destinations
    .filter((row) => row.dead > 0)
    .map(
      (row): Finding => ({
        level: 'warning',
        subject: `destination ${row.destination}`,
        text: countOf(row.dead, 'dead letter'),
        remedy: `look at them: mersal dead list --destination ${row.destination}`,
      }),
    )
  const blocked = keys.filter((row) => row.blocked).map(blockedKey)
  return [
    ...untaken(overview),
    ...bounded(refused, 'destinations'),
    ...bounded(dead, 'destinations'),
    ...bounded(blocked, 'keys'),
  ]
}

/** Delayed messages need a relay even where all others go straight into a queue. */
function untaken({ claimed, waitingMs = 0 }: OutboxOverview): readonly Finding[] {
  if (claimed > 0 || waitingMs < NOBODY_CAME_MS) return []
  const text = `a message has been due for ${Math.round(waitingMs / 1000)} s, and no relay has any in hand`
  const remedy =
    "let a relay run: 'mersal relay', or an app that is started without outbox.runRelay: false; if one runs, its log names the destination that is away"
  return [{ level: 'warning', subject: 'outbox', text, remedy }]
}

function refusal({
  destination,
  refused = 0,
  lastError,
}: OutboxOverview['destinations'][number]): Finding {
  return {
    level: 'fault',
    subject: `destination ${destination}`,
    text: `${countOf(refused, 'message')} refused so far${lastError === undefined ? '' : `: ${lastError.split('\n')[0]?.slice(0, 200)}`}`,
    remedy:
      'start an app that takes them (a queue that is read, a subscriber of the topic); they are tried again until they are dead letters',
  }
}

function blockedKey({ key, pending }: KeyOverview): Finding {
  return {
    level: 'fault',
    subject: `key ${key}`,
    text: `a dead letter holds it back${pending === 0 ? '' : `, and ${countOf(pending, 'message')} wait${pending === 1 ? 's' : ''} behind it`}`,
    remedy: `retry or discard that letter: mersal dead list --key '${key}'`,
  }
}

/** What does not get through to consumers: their dead letters, and queues that nobody reads. */
export function examineQueues(found: readonly TransportQueues[]): readonly Finding[] {
  const findings = found.flatMap(({ transport, queues }) =>
    queues.flatMap(({ queue, dead, waiting, consumers }): Finding[] => {
      const subject = `queue '${queue}' of transport '${transport}'`
      const other = transport === 'default' ? '' : ` --transport ${transport}`
      const letters: Finding = {
        level: 'warning',
        subject,
        text: `${countOf(dead, 'dead letter')} of consumers`,
        remedy: `look at them: mersal dead list --queue ${queue}${other}`,
      }
      const unread: Finding = {
        level: 'warning',
        subject,
        text: `nobody reads it, and ${countOf(waiting, 'message')} wait${waiting === 1 ? 's' : ''} in it`,
        remedy:
          'start the app of this name; if there is none any more, remove the queue at the broker, since it still takes its events',
      }
      return [...(dead > 0 ? [letters] : []), ...(waiting > 0 && consumers === 0 ? [unread] : [])]
    }),
  )
  const problems = found.flatMap(({ transport, problem }): Finding[] =>
    problem === undefined
      ? []
      : [{ level: 'warning', subject: `queues of transport '${transport}'`, text: problem }],
  )
  return [...bounded(findings, 'queues'), ...problems]
}
