import { readdirSync, readFileSync } from 'node:fs'

/** What one run of a candidate gives. */
export interface Sample {
  /** Units of work, or messages, per second: the section says which. */
  readonly rate: number
  /** CPU seconds per 100,000 of them: this process, and the processes of the servers. */
  readonly cpu: Readonly<Record<string, number>>
  /** Further figures, such as milliseconds or megabytes, by the heading of their column. */
  readonly figures?: Readonly<Record<string, number>>
  /** What is wrong with what was written or read back; empty: nothing. */
  readonly faults: readonly string[]
}

export interface Candidate {
  readonly name: string
  run(): Promise<Sample>
}

export interface Result {
  readonly name: string
  readonly rate: number
  readonly range: readonly [number, number]
  /** Median of the ratios to the first candidate, each taken inside one round. */
  readonly ratio: number
  readonly ratioRange: readonly [number, number]
  readonly cpu: Readonly<Record<string, number>>
  readonly figures: Readonly<Record<string, number>>
  readonly faults: readonly string[]
  /** Round by round, so that any two candidates can be compared inside a round. */
  readonly samples: readonly Sample[]
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** `share` 0.99: only one in a hundred is above it. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

const range = (values: readonly number[]): readonly [number, number] => [
  Math.min(...values),
  Math.max(...values),
]

/**
 * Runs A B C, A B C, ...: what the machine does besides hits all alike. One round before warms up
 * and does not count; `warmUp: false` leaves it out, where every run has processes of its own.
 * `only`: as the effort says.
 */
export async function interleave(
  all: readonly Candidate[],
  rounds: number,
  {
    warmUp = true,
    only,
  }: { readonly warmUp?: boolean; readonly only?: readonly string[] | undefined } = {},
): Promise<Result[]> {
  const candidates = all.filter(
    ({ name }, index) =>
      index === 0 || only === undefined || only.some((text) => name.includes(text)),
  )
  const samples = candidates.map((): Sample[] => [])
  const warmUpFaults = candidates.map((): string[] => [])
  for (let round = warmUp ? 0 : 1; round <= rounds; round++) {
    for (const [index, candidate] of candidates.entries()) {
      const sample = await candidate.run()
      if (round > 0) samples[index]?.push(sample)
      else warmUpFaults[index]?.push(...sample.faults)
    }
  }
  const base = samples[0]?.map(({ rate }) => rate) ?? []
  return candidates.map(({ name }, index) => {
    const result = summary(name, samples[index] ?? [], base)
    return { ...result, faults: [...(warmUpFaults[index] ?? []), ...result.faults] }
  })
}

function summary(name: string, samples: readonly Sample[], base: readonly number[]): Result {
  const rates = samples.map(({ rate }) => rate)
  const ratios = rates.map((rate, round) => rate / (base[round] ?? Number.NaN))
  return {
    name,
    rate: median(rates),
    range: range(rates),
    ratio: median(ratios),
    ratioRange: range(ratios),
    cpu: medians(samples.map(({ cpu }) => cpu)),
    figures: medians(samples.map(({ figures = {} }) => figures)),
    faults: samples.flatMap(({ faults }) => faults),
    samples,
  }
}

function medians(records: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = Object.keys(records[0] ?? {})
  return Object.fromEntries(
    names.map((name) => [name, median(records.map((record) => record[name] ?? Number.NaN))]),
  )
}

/** Most memory that the process has had in RAM, in MB. */
export function peakMegabytes(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

/**
 * CPU seconds of a process and of all its descendants, those included that have ended and were
 * waited for.
 */
export function cpuSeconds(root: number): number {
  const children = new Map<number, number[]>()
  const ticks = new Map<number, number>()
  for (const entry of readdirSync('/proc')) {
    const fields = /^\d+$/.test(entry) ? fieldsOf(entry) : undefined
    if (fields === undefined) continue
    const pid = Number(entry)
    const parent = Number(fields[1])
    children.set(parent, [...(children.get(parent) ?? []), pid])
    // utime, stime, cutime, cstime: proc(5)
    ticks.set(
      pid,
      Number(fields[11]) + Number(fields[12]) + Number(fields[13]) + Number(fields[14]),
    )
  }
  const sum = (pid: number): number =>
    (ticks.get(pid) ?? 0) +
    (children.get(pid) ?? []).reduce((total, child) => total + sum(child), 0)
  return sum(root) / 100
}

/** The fields after the name of the program; undefined if the process has gone. */
function fieldsOf(pid: string): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}
