import type { Size } from './effort.ts'
import type { Table } from './report.ts'

/** What one section of a run leaves in `bench/results/<section>.json`. */
export interface Outcome {
  readonly section: string
  readonly machine: string
  /** What was used, by name. */
  readonly versions: Readonly<Record<string, string>>
  readonly runs: number
  readonly seconds: number
  readonly size: Size
  readonly at: string
  /** How long the section took, rounds, filling and servers included. */
  readonly tookSeconds?: number
  readonly tables: readonly Table[]
}
