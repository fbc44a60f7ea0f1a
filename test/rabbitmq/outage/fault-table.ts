import { appendFileSync } from 'node:fs'

/** What one fault did to one run. Times are in milliseconds. */
export interface Row {
  readonly fault: string
  readonly messages: number
  readonly lost: number
  readonly phantom: number
  /** Copies too many, as a plain client found them. */
  readonly duplicates: number
  /** Publishes that got no answer, which is what duplicates come from. */
  readonly unanswered: number
  /** Attempts that were charged. */
  readonly charged: number
  /** Confirmed messages that the fault itself destroyed on the broker. */
  readonly wiped: number
  /** From the end of the fault to the first confirm. */
  readonly publishMs: number
  /** From the end of the fault to the first handled message. */
  readonly handleMs: number
}

/** Name of a file that collects the rows as JSON lines; `scripts/fault-table.ts` sets it. */
const FILE = process.env['MERSAL_FAULT_TABLE']

/** Then the figures are those of an app with default options. Else its longest pauses are short. */
export const makesTable: boolean = FILE !== undefined

/** Prints the row, and keeps it for the table in docs/rabbitmq.md when that is being made. */
export function addRow(row: Row): void {
  process.stdout.write(`${JSON.stringify(row)}\n`)
  if (FILE !== undefined) appendFileSync(FILE, `${JSON.stringify(row)}\n`)
}
