import type { Library } from './candidate.ts'
import type { Candidate } from './plan.ts'

/** Loads one library and no other. */
export async function libraryOf(candidate: Candidate): Promise<Library> {
  switch (candidate) {
    case 'Mersal':
      return (await import('./candidates/mersal.ts')).library
    case 'pg-boss':
      return (await import('./candidates/pg-boss.ts')).library
    case 'graphile-worker':
      return (await import('./candidates/graphile-worker.ts')).library
    case 'pg-transactional-outbox':
      return (await import('./candidates/pg-transactional-outbox.ts')).library
    case 'BullMQ':
      return (await import('./candidates/bullmq.ts')).library
    case '@node-ts/bus-core':
      return (await import('./candidates/bus-core.ts')).library
    default:
      return candidate satisfies never
  }
}
