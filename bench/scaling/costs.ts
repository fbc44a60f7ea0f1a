import type { Result, Sample } from '../measure.ts'
import type { Outcome } from '../outcome.ts'
import type { Table } from '../report.ts'

/** A measured figure: its median, and the least and the most of the rounds. */
export interface Measured {
  readonly middle: number
  readonly low: number
  readonly high: number
}

/**
 * What one message costs each part, in CPU seconds per 100,000; undefined where the sections that
 * tell did not run.
 */
export interface Costs {
  /** The business transaction alone: one row. */
  readonly business: { readonly app: Measured; readonly database: Measured } | undefined
  /** What one message in it adds. */
  readonly outbox: { readonly app: Measured; readonly database: Measured } | undefined
  /** Claiming, publishing with confirms to a quorum queue, settling. */
  readonly relay:
    | {
        readonly process: Measured
        readonly database: Measured
        readonly broker: Measured
        readonly rate: Measured
      }
    | undefined
  /** Messages per second that one quorum queue took from a client without a database. */
  readonly queue: Measured | undefined
  /** Receiving, with an inbox row and a business row. */
  readonly inbox:
    | { readonly app: Measured; readonly database: Measured; readonly broker: Measured }
    | undefined
  /** Bytes of write-ahead log per message, from its transaction to its settlement. */
  readonly walBytes: Measured | undefined
}

export type Outcomes = readonly Outcome[]

export function tableOf(outcomes: Outcomes, id: string): Table | undefined {
  return outcomes.flatMap(({ tables }) => tables).find((table) => table.id === id)
}

export function resultOf(outcomes: Outcomes, id: string, name: string): Result | undefined {
  const data = tableOf(outcomes, id)?.data
  return Array.isArray(data)
    ? (data as readonly Result[]).find((result) => result.name === name)
    : undefined
}

/** Of one figure of the rounds; undefined if any of them lacks it. */
export function measured(
  samples: readonly Sample[] | undefined,
  of: (sample: Sample) => number | undefined,
): Measured | undefined {
  const values = (samples ?? []).map(of)
  if (values.length === 0 || values.some((value) => value === undefined || Number.isNaN(value)))
    return undefined
  const sorted = (values as number[]).toSorted((a, b) => a - b)
  const at = (index: number): number => sorted[index] ?? Number.NaN
  const middle = (at((sorted.length - 1) >> 1) + at(sorted.length >> 1)) / 2
  return { middle, low: at(0), high: at(sorted.length - 1) }
}

export function plus(...parts: readonly Measured[]): Measured {
  const sum = (of: keyof Measured): number => parts.reduce((total, part) => total + part[of], 0)
  return { middle: sum('middle'), low: sum('low'), high: sum('high') }
}

const keyed = 'Mersal, 1,000 keys'

export function costsOf(outcomes: Outcomes): Costs {
  const cpu = (id: string, name: string, part: string): Measured | undefined =>
    measured(resultOf(outcomes, id, name)?.samples, ({ cpu }) => cpu[part])
  const rate = (id: string, name: string): Measured | undefined =>
    measured(resultOf(outcomes, id, name)?.samples, (sample) => sample.rate)
  const parts = <Name extends string>(
    given: Readonly<Record<Name, Measured | undefined>>,
  ): Readonly<Record<Name, Measured>> | undefined =>
    Object.values(given).includes(undefined)
      ? undefined
      : (given as Readonly<Record<Name, Measured>>)
  return {
    business: parts({
      app: cpu('write 8', 'business row alone', 'node'),
      database: cpu('write 8', 'business row alone', 'postgres'),
    }),
    outbox: parts({ app: added(outcomes, 'node'), database: added(outcomes, 'postgres') }),
    relay: parts({
      process: cpu('relay quorum', keyed, 'relay'),
      database: cpu('relay quorum', keyed, 'postgres'),
      broker: cpu('relay quorum', keyed, 'rabbitmq'),
      rate: rate('relay quorum', keyed),
    }),
    queue: rate('relay quorum', 'bare publishing'),
    inbox: parts({
      app: cpu('receive rabbitmq', 'Mersal', 'node'),
      database: cpu('receive rabbitmq', 'Mersal', 'postgres'),
      broker: cpu('receive rabbitmq', 'Mersal', 'rabbitmq'),
    }),
    walBytes: walBytes(outcomes),
  }
}

/** What a keyed message adds to the business transaction, round by round. */
function added(outcomes: Outcomes, part: string): Measured | undefined {
  const of = (name: string): readonly Sample[] | undefined =>
    resultOf(outcomes, 'write 8', name)?.samples
  const bare = of('business row alone')
  const with1 = of('+ 1 keyed message, Mersal')
  const differences = with1?.map((sample, round) => ({
    ...sample,
    cpu: { [part]: (sample.cpu[part] ?? Number.NaN) - (bare?.[round]?.cpu[part] ?? Number.NaN) },
  }))
  return measured(differences, ({ cpu }) => cpu[part])
}

/** One run of the section, or several; both forms have been written. */
function walBytes(outcomes: Outcomes): Measured | undefined {
  const several = measured(
    resultOf(outcomes, 'churn', 'Mersal')?.samples,
    ({ figures }) => figures?.['bytes of log per message'],
  )
  const one = (tableOf(outcomes, 'churn')?.data as { readonly walBytes?: number } | undefined)
    ?.walBytes
  return several ?? (one === undefined ? undefined : { middle: one, low: one, high: one })
}
