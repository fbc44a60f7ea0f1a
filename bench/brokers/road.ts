import type { Transport } from '../../src/core/transport.ts'

/** A queue of one run, made as Mersal makes it. */
export interface RunQueue {
  readonly name: string
}

/** A broker beside PostgreSQL, as these sections use it. */
export interface Road<Queue extends RunQueue> {
  /** What its processor time is called. */
  readonly broker: string
  /** Makes a queue on the server at this address. */
  readonly declare: (url: string) => Promise<Queue>
  readonly transport: (queue: Queue) => Transport
}

let queues = 0

/** Of the names of one run. */
export const newPrefix = (): string => `bench-${process.pid}-${++queues}`

export const idOf = (number: number): string =>
  `0190a1b2-c3d4-7e5f-8a6b-${String(number).padStart(12, '0')}`
