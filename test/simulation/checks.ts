import type { DeadLetter } from '../../src/core/dead-letter.ts'
import type { Ledger, Record } from './ledger.ts'

export interface Ending {
  readonly ledger: Ledger
  readonly dead: readonly DeadLetter[]
  readonly pending: number
  readonly faultFree: boolean
  readonly maxAttempts: number
}

/** A dead letter that blocks its key. */
interface Blocker {
  readonly record: Record
  readonly diedAt: number
}

/** The promises that must hold once everything has healed. Each violation begins with its name. */
export function violationsOf({ ledger, dead, pending, faultFree, maxAttempts }: Ending): string[] {
  const found = [...ledger.violations]
  const deadById = new Map(dead.map((letter) => [letter.id, letter]))
  const committed = [...ledger.records.values()].filter((record) => record.committed)
  committed.sort((left, right) => Number((left.position as bigint) - (right.position as bigint)))
  const blockedKeys = new Map<string, Blocker>()
  const lastFirst = new Map<string, { readonly first: number; readonly id: string }>()
  let waiting = 0
  for (const record of committed) {
    const letter = deadById.get(record.id)
    const blocker = record.key === undefined ? undefined : blockedKeys.get(record.key)
    found.push(...judge(record, letter, { faultFree, maxAttempts }))
    if (blocker !== undefined) {
      waiting++
      if (passed(record, blocker))
        found.push(`inversion: ${record.id} passed ${blocker.record.id}, which blocks its key`)
      continue
    }
    if (letter !== undefined) {
      if (letter.blocksKey && record.key !== undefined) {
        blockedKeys.set(record.key, { record, diedAt: letter.diedAt })
        waiting++
      }
      continue
    }
    const first = record.accepted[0]
    if (first === undefined) {
      found.push(`lost: ${record.id} is neither with the broker nor a dead letter`)
      continue
    }
    const before = record.key === undefined ? undefined : lastFirst.get(record.key)
    if (before !== undefined && before.first > first)
      found.push(`inversion: ${record.id} came before ${before.id}`)
    if (record.key !== undefined) lastFirst.set(record.key, { first, id: record.id })
  }
  const blockedDead = [...blockedKeys.values()].length
  if (pending !== waiting - blockedDead)
    found.push(`stuck: ${pending} rows are open, ${waiting - blockedDead} of them for a reason`)
  return found
}

/**
 * The broker has it without the one that blocks its key, or it was published when that was a dead
 * letter already. If the broker had taken that one before, and only the relay that took over did
 * not know, nothing was passed.
 */
function passed(
  { accepted, lastPublishAt = 0 }: Record,
  { record: blocker, diedAt }: Blocker,
): boolean {
  const [first = Infinity] = accepted
  return first < (blocker.accepted[0] ?? Infinity) || lastPublishAt > diedAt
}

function judge(
  record: Record,
  letter: DeadLetter | undefined,
  limits: Pick<Ending, 'faultFree' | 'maxAttempts'>,
): string[] {
  const found: string[] = []
  const bound = 1 + record.faults + record.hits
  if (record.publishes > bound)
    found.push(
      `duplicates: ${record.id} was published ${record.publishes} times, its faults allow ${bound}`,
    )
  if (limits.faultFree && record.publishes !== 1)
    found.push(`duplicates: ${record.id} was published ${record.publishes} times without a fault`)
  if (letter === undefined) return found
  if (letter.reason === 'kills-relay') {
    if (record.nature !== 'killer') found.push(`innocent: ${record.id} died as a killer`)
  } else if (record.refusals === 0 || record.refusals + record.losses < limits.maxAttempts) {
    found.push(
      `budget: ${record.id} died after ${record.refusals} refusals and ${record.losses} losses of ${limits.maxAttempts}`,
    )
  }
  return found
}
