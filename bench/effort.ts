import type { BenchServers } from './servers.ts'

/**
 * `full`: the figures that count. `short`: the same in minutes. `tiny`: only whether everything
 * works, without a round to warm up.
 */
export type Size = 'full' | 'short' | 'tiny'

/** What a section is to do. */
export interface Effort {
  readonly runs: number
  /** Of the sections that work for a time. */
  readonly seconds: number
  readonly size: Size
  /** Whether the libraries in `bench/peers` take part. */
  readonly peers: boolean
  readonly servers: BenchServers
  /**
   * Only candidates with one of these texts in their names, besides the first one, which all are
   * compared with.
   */
  readonly only?: readonly string[]
  /** Of the section `write`: only with this number of connections. */
  readonly connections?: number
}

/** A number of messages by the size of the run; a tiny run takes at most 300. */
export function amount({ size }: Pick<Effort, 'size'>, full: number, short: number): number {
  if (size === 'tiny') return Math.min(300, short)
  return size === 'full' ? full : short
}
