import type { SagaInstance } from '../../core/records/sagas.ts'
import { parseJson } from '../../lib/json.ts'
import type { Timeouts } from './timeouts.ts'

/**
 * The timeouts that an instance waits for. Each one that was ever asked for has a number of its
 * own, so that a message for one that was taken back is known when it arrives.
 */
export interface Pending {
  /** The largest number so far. */
  last: number
  /** By name. */
  readonly numbers: Map<string, number>
}

export function readPending(instance: SagaInstance | undefined): Pending {
  if (instance === undefined) return { last: 0, numbers: new Map() }
  const { last, numbers } = parseJson(instance.timeouts) as {
    readonly last: number
    readonly numbers: Readonly<Record<string, number>>
  }
  return { last, numbers: new Map(Object.entries(numbers)) }
}

export function writePending({ last, numbers }: Pending): string {
  return JSON.stringify({ last, numbers: Object.fromEntries(numbers) })
}

/** Notes what one message asked for. */
export function note(pending: Pending, { wanted, cancelled }: Timeouts): void {
  for (const name of cancelled) pending.numbers.delete(name)
  for (const name of wanted.keys()) pending.numbers.set(name, ++pending.last)
}
