import { command } from '../../src/index.ts'

export const Note = command<{ readonly n: number }>('bundles.note')

export interface WorkerPlan {
  readonly url: string
  readonly path: string
  readonly queue: string
  /** Whoever handles this one ends. */
  readonly killer: number
}
