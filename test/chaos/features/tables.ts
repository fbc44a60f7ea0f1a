/** The tables of the second workload, and what a plain look at them tells. */
import { courseOf, SAGA } from './plan.ts'

export type Dialect = 'postgres' | 'sqlite'
type Row = Readonly<Record<string, unknown>>

const columns: Readonly<Record<string, string>> = {
  starts: 'number bigint not null, stamp text not null',
  payments: 'number bigint not null, part bigint not null, stamp text not null',
  saga_steps: 'number bigint not null, step text not null, at bigint not null',
  // Written by one process at a time; a dead one may still be committing.
  sent_steps: 'step_key bigint not null, seq bigint not null, unique (step_key, seq)',
  done_steps: 'step_key bigint not null, seq bigint not null',
}

/** `prefix`: of their names, such as `mersal.`. */
export function featureTables(dialect: Dialect, prefix: string): readonly string[] {
  const place =
    dialect === 'postgres'
      ? 'place bigint generated always as identity primary key'
      : 'place integer primary key autoincrement'
  return Object.entries(columns).map(
    ([name, list]) => `create table ${prefix}${name} (${place}, ${list})`,
  )
}

export interface SagaStep {
  readonly number: number
  readonly step: string
  /** Milliseconds by the clock that delays go by. */
  readonly at: number
}

export interface OrderedStep {
  readonly key: number
  readonly seq: number
}

/** What is there, in the order in which it was written. */
export interface FeatureTruth {
  readonly starts: readonly { readonly number: number; readonly stamp: string }[]
  readonly payments: readonly {
    readonly number: number
    readonly part: number
    readonly stamp: string
  }[]
  readonly steps: readonly SagaStep[]
  readonly sent: readonly OrderedStep[]
  readonly done: readonly OrderedStep[]
  /** Halves that each open instance knows of, and how many timeouts it waits for. */
  readonly instances: ReadonlyMap<number, { readonly paid: number; readonly wanted: number }>
  /** Timeouts in the outbox, by the number of their order. */
  readonly timeouts: readonly number[]
}

export interface FeatureReader {
  readonly dialect: Dialect
  readonly prefix: string
  readonly rows: (sql: string) => Promise<readonly Row[]>
}

const textOf = (value: unknown): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString() : String(value)
const numberOf = (key: unknown): number => Number(textOf(key).replace('order ', ''))

export async function featureTruth({
  dialect,
  prefix,
  rows,
}: FeatureReader): Promise<FeatureTruth> {
  const all = (name: string): Promise<readonly Row[]> =>
    rows(`select * from ${prefix}${name} order by place`)
  const ordered = async (name: string): Promise<readonly OrderedStep[]> =>
    (await all(name)).map((row) => ({ key: Number(row['step_key']), seq: Number(row['seq']) }))
  const [sagas, outbox] =
    dialect === 'postgres'
      ? [`select key, state::text, timeouts::text from ${prefix}saga`, `${prefix}outbox`]
      : ['select key, state, timeouts from mersal_sagas', 'mersal_outbox']
  const waiting = await rows(`select body from ${outbox} where type = '${SAGA}.timeout'`)
  return {
    starts: (await all('starts')).map((row) => ({
      number: Number(row['number']),
      stamp: textOf(row['stamp']),
    })),
    payments: (await all('payments')).map((row) => ({
      number: Number(row['number']),
      part: Number(row['part']),
      stamp: textOf(row['stamp']),
    })),
    steps: (await all('saga_steps')).map((row) => ({
      number: Number(row['number']),
      step: textOf(row['step']),
      at: Number(row['at']),
    })),
    sent: await ordered('sent_steps'),
    done: await ordered('done_steps'),
    instances: new Map(
      (await rows(sagas)).map(({ key, state, timeouts }) => {
        const { paid } = JSON.parse(textOf(state)) as { paid: number }
        const { numbers } = JSON.parse(textOf(timeouts)) as { numbers: object }
        return [numberOf(key), { paid, wanted: Object.keys(numbers).length }] as const
      }),
    ),
    timeouts: waiting.map(({ body }) =>
      numberOf((JSON.parse(textOf(body)) as { key: string }).key),
    ),
  }
}

/** What is not done yet. */
export function featuresWaiting({
  starts,
  payments,
  steps,
  sent,
  done,
}: FeatureTruth): readonly string[] {
  const had = new Set(steps.map(({ number, step }) => `${number} ${step}`))
  const over = (number: number): boolean =>
    had.has(`${number} settled`) || had.has(`${number} overdue`)
  const handled = new Set(done.map(({ key, seq }) => `${key} ${seq}`))
  return [
    ...starts
      .filter(({ number }) => !had.has(`${number} start`))
      .map(({ number }) => `saga ${number} has not begun`),
    ...payments
      .filter(({ number, part }) => !had.has(`${number} part ${part}`) && !over(number))
      .map(({ number, part }) => `part ${part} of saga ${number} was not handled`),
    ...starts
      .filter(({ number }) => courseOf(number) !== 'open' && !over(number))
      .map(({ number }) => `saga ${number} has not ended`),
    ...sent
      .filter(({ key, seq }) => !handled.has(`${key} ${seq}`))
      .map(({ key, seq }) => `step ${seq} of key ${key} was not handled`),
  ]
}

export interface FeatureCounts {
  readonly sagas: number
  readonly requests: number
  readonly steps: number
}

export const featureCounts = ({ starts, payments, sent }: FeatureTruth): FeatureCounts => ({
  sagas: starts.length,
  requests: starts.length + payments.length,
  steps: sent.length,
})
