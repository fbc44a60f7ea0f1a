import type { OutboxStorage } from '../../core/outbox.ts'
import type { Store, UnitOfWork } from '../../core/store.ts'
import type { ManyTracker, MessageTracker } from '../../core/tracker.ts'
import { overlay } from './overlay.ts'
import { type AtCrashPoint, type CrashPoint, phase } from './points.ts'

/** Only the points of the store. */
export function storeWithPoints<Tx>(store: Store<Tx>, at: AtCrashPoint): Store<Tx> {
  return overlay(store, {
    unitOfWork: unitOfWorkWithPoints((work, options) => store.unitOfWork(work, options), at),
    outbox: overlay(store.outbox, outboxWithPoints(store.outbox, at)),
    tracker: overlay(store.tracker, trackerWithPoints(store.tracker, at)),
  })
}

function unitOfWorkWithPoints<Tx>(inner: UnitOfWork<Tx>, at: AtCrashPoint): UnitOfWork<Tx> {
  return async (work, options) => {
    const consumer = phase.getStore() === 'delivery'
    if (!consumer) await at('P1')
    const workWithPoints: typeof work = async (tx) => {
      await at(consumer ? 'C2' : 'P2')
      const value = await work(tx)
      if (!consumer) await at('P4')
      return value
    }
    const result = await phase.run(consumer ? 'consumer' : 'producer', () =>
      inner(workWithPoints, options),
    )
    if (!consumer) await at('P6')
    return result
  }
}

function outboxWithPoints<Tx>(
  inner: OutboxStorage<Tx>,
  at: AtCrashPoint,
): Partial<OutboxStorage<Tx>> {
  return {
    save: async (tx, messages, options) => {
      const consumer = phase.getStore() === 'consumer'
      if (!consumer) await at('P3')
      const saved = await inner.save(tx, messages, options)
      if (consumer && messages.length > 0) await at('C5')
      return saved
    },
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
