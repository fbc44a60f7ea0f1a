/** Outboxes of other libraries, which keep message and data together as ours does. */
export const rivals = ['pg-boss', 'graphile-worker', 'pg-transactional-outbox'] as const

const all = [...rivals, 'BullMQ', '@node-ts/bus-core']

/** Whether a candidate is one of the other libraries. */
export const isPeer = (candidate: string): boolean => all.some((name) => candidate.includes(name))
