import { causesOf } from '../../core/errors/causes.ts'
import type { Finding } from '../../core/operations.ts'
import { toError } from '../../lib/async/abort.ts'
import { describeError } from '../../operate/describe-error.ts'

/** A finding that an examination could not be made. `cause`: what lies at the bottom of it. */
interface Failed extends Finding {
  readonly cause?: string
}

const remedy = 'check address, user, password and network'

/** What an examination answers; one that throws is a fault itself. */
export async function attempt(
  subject: string,
  examine: () => Promise<readonly Finding[]>,
): Promise<readonly Failed[]> {
  try {
    return await examine()
  } catch (thrown) {
    const error = toError(thrown)
    const text = describeError(error)
    const bottom = toError(causesOf(error).at(-1) ?? error).message
    const told = `${remedy}; nothing else could be examined there`
    return [{ level: 'fault', subject, text, remedy: told, cause: bottom === '' ? text : bottom }]
  }
}

/**
 * One fault for each cause, under the shortest of its names. The remedy says what else has failed
 * with the same error. `several`: stores are told apart by what is before the first colon.
 */
export function oneFaultEach(found: readonly Failed[], several: boolean): readonly Finding[] {
  const groups = new Map<Failed | string, Failed[]>()
  for (const one of found) {
    const place = several ? (one.subject.split(': ')[0] ?? '') : ''
    // What could be examined stays as it is.
    const key = one.cause === undefined ? one : `${place}\n${one.cause}`
    groups.set(key, [...(groups.get(key) ?? []), one])
  }
  return [...groups.values()].flatMap(merged)
}

function merged(group: readonly Failed[]): readonly Finding[] {
  const [first, ...rest] = group.toSorted((a, b) => a.subject.length - b.subject.length)
  if (first === undefined) return []
  const { cause: _, ...finding } = first
  const others = [...new Set(rest.map(({ subject }) => subject))].join(', ')
  if (others === '') return [finding]
  return [{ ...finding, remedy: `${remedy}; the same error: ${others}` }]
}
