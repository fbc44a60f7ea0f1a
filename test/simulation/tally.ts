import { createHash } from 'node:crypto'
import { simulate } from './simulate.ts'
import type { Outcome, Subject } from './subject.ts'

/** What came of many seeds. */
export interface Tally {
  seeds: number
  faultFree: number
  messages: number
  publishes: number
  crashes: number
  pauses: number
  dead: number
  /** Seeds that were run again, to see whether the trace is the same. */
  twice: number
  violations: string[]
}

/** One seed in this number is run twice. */
export const TWICE_EVERY = 50

export function emptyTally(): Tally {
  return {
    seeds: 0,
    faultFree: 0,
    messages: 0,
    publishes: 0,
    crashes: 0,
    pauses: 0,
    dead: 0,
    twice: 0,
    violations: [],
  }
}

export function addTally(total: Tally, more: Tally): void {
  for (const name of [
    'seeds',
    'faultFree',
    'messages',
    'publishes',
    'crashes',
    'pauses',
    'dead',
    'twice',
  ] as const)
    total[name] += more[name]
  total.violations.push(...more.violations)
}

/** Stands for everything that happened in a schedule. */
export function hashOf({ trace }: Pick<Outcome, 'trace'>): string {
  return createHash('sha256').update(trace.join('\n')).digest('hex').slice(0, 16)
}

/** Runs these seeds, one after the other. */
export async function tallyOf(from: number, count: number, subject: Subject): Promise<Tally> {
  const tally = emptyTally()
  for (let seed = from; seed < from + count; seed++) {
    const outcome = await simulate(seed, subject)
    const { counts, violations, faultFree } = outcome
    tally.seeds++
    if (faultFree) tally.faultFree++
    for (const name of ['messages', 'publishes', 'crashes', 'pauses', 'dead'] as const)
      tally[name] += counts[name]
    tally.violations.push(...violations.map((violation) => `seed ${seed}: ${violation}`))
    if (seed % TWICE_EVERY !== 0) continue
    tally.twice++
    const [first, second] = [hashOf(outcome), hashOf(await simulate(seed, subject))]
    if (first !== second)
      tally.violations.push(`seed ${seed}: determinism: its trace was ${first} and then ${second}`)
  }
  return tally
}
