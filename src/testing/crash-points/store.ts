import type { OutboxStorage } from '../../core/outbox.ts'
import type { OpenToQueue } from '../../core/queue-beside-outbox.ts'
import type { Store } from '../../core/store.ts'
import type { ManyTracker, MessageTracker } from '../../core/tracker.ts'
import { overlay } from './overlay.ts'
import { type AtCrashPoint, type CrashPoint, phase } from './points.ts'
import { aboutToWrite, unitOfWorkWithPoints, written } from './unit.ts'

/** Only the points of the store. */
export function storeWithPoints<Tx>(store: Store<Tx>, at: AtCrashPoint): Store<Tx> {
  return overlay(store, {
    unitOfWork: unitOfWorkWithPoints((work, options) => store.unitOfWork(work, options), at),
    outbox: overlay(store.outbox, outboxWithPoints(store.outbox, at)),
    tracker: overlay(store.tracker, trackerWithPoints(store.tracker, at)),
  })
}

function outboxWithPoints<Tx>(
  inner: OutboxStorage<Tx>,
  at: AtCrashPoint,
): Partial<OutboxStorage<Tx>> {
  return {
    ...savesWithPoints(inner, at),
    claim: async (request) => {
      await at('R1')
      const answer = phase.run('relay', () => inner.claim(request))
      await pointBefore(answer, 'R2', at)
      return await answer
    },
    settle: async (settlements) => {
      const sent = settlements.some(({ kind }) => kind === 'sent')
      if (sent) await at('R7')
      const answer = phase.run('relay', () => inner.settle(settlements))
      if (sent) await pointBefore(answer, 'R8', at)
      const result = await answer
      if (sent) await at('R9')
      return result
    },
    ...(inner.renew === undefined
      ? {}
      : {
          renew: (claims, options) =>
            phase.run('relay', () => inner.renew?.(claims, options) ?? Promise.resolve()),
        }),
  }
}

/** Whoever is killed at a point leaves what a crash there leaves, on every road into the tables. */
function savesWithPoints<Tx>(
  inner: OutboxStorage<Tx>,
  at: AtCrashPoint,
): Partial<OutboxStorage<Tx>> {
  const { openToQueue } = inner
  const saveLast = inner.saveLast?.bind(inner)
  const saveWithin = inner.saveWithin?.bind(inner)
  return {
    save: async (tx, messages, options) => {
      await aboutToWrite(at)
      const saved = await inner.save(tx, messages, options)
      written(messages.length)
      return saved
    },
    ...(saveLast === undefined
      ? {}
      : {
          saveLast: (tx, messages, options) => {
            const later = saveLast(tx, messages, options)
            if (later !== undefined) written(messages.length)
            return later
          },
        }),
    ...(saveWithin === undefined
      ? {}
      : {
          saveWithin: (tx, messages, write) => {
            const reached = phase.getStore() === 'consumer' ? undefined : at('P3')
            // Still in the tick of the send, for which the storage asks.
            const given = reached === undefined ? messages : reached.then(() => messages)
            return saveWithin(tx, given, write)
          },
        }),
    ...(openToQueue === undefined ? {} : { openToQueue: queueWithPoints(openToQueue, at) }),
  }
}

/** Where messages go straight into a queue of the same database. */
function queueWithPoints<Tx>(inner: OpenToQueue<Tx>, at: AtCrashPoint): OpenToQueue<Tx> {
  return {
    place: () => inner.place(),
    query: async (...statement) => {
      await aboutToWrite(at)
      const result = await inner.query(...statement)
      written(1)
      return result
    },
  }
}

/**
 * Runs the hook while an answer is under way. If the hook throws, the answer is lost, whatever it
 * is.
 */
async function pointBefore(
  answer: Promise<unknown>,
  point: CrashPoint,
  at: AtCrashPoint,
): Promise<void> {
  const heard = answer.then(
    () => undefined,
    () => undefined,
  )
  try {
    await at(point)
  } catch (error) {
    await heard
    throw error
  }
}

function trackerWithPoints<Tx>(
  inner: MessageTracker<Tx>,
  at: AtCrashPoint,
): Partial<MessageTracker<Tx>> {
  return {
    track: async (tx, key) => {
      const outcome = await inner.track(tx, key)
      await at('C3')
      return outcome
    },
    ...(inner.many === undefined ? {} : { many: manyWithPoints(inner.many, at) }),
    ...(inner.endings === undefined ? {} : { endings: inner.endings }),
  }
}

function manyWithPoints<Tx>(inner: ManyTracker<Tx>, at: AtCrashPoint): ManyTracker<Tx> {
  return {
    track: async (tx, keys) => {
      const outcomes = await inner.track(tx, keys)
      await at('C3')
      return outcomes
    },
  }
}
