import { AsyncLocalStorage } from 'node:async_hooks'
import { setImmediate } from 'node:timers'
import type { OutgoingMessage } from '../core/messages/message.ts'
import type { OutboxStorage } from '../core/outbox.ts'
import type { Store, UnitOfWork } from '../core/store.ts'
import type { ManyTracker, MessageTracker } from '../core/tracker.ts'
import type { Delivery, Disposition, PublishOutcome, Transport } from '../core/transport.ts'
import { nextTurn } from '../lib/async/turn.ts'

/**
 * The places on the way of a message where a crash is told apart from a crash at its neighbours.
 * `reachedBy` says who calls the hook: a wrapped port, the wrapped database handle
 * (`commitPoints`), or the code of the test itself.
 */
export const crashPointList = [
  { name: 'P1', reachedBy: 'store', meaning: 'the producer is about to begin its transaction' },
  { name: 'P2', reachedBy: 'store', meaning: 'the transaction is open, nothing is written' },
  { name: 'P3', reachedBy: 'store', meaning: 'business rows are written, outbox rows are not' },
  { name: 'P4', reachedBy: 'store', meaning: 'everything is written, COMMIT is not sent' },
  {
    name: 'P5',
    reachedBy: 'database',
    meaning: 'COMMIT has been executed, its answer has not been heard',
  },
  {
    name: 'P6',
    reachedBy: 'store',
    meaning: 'the store knows of the commit; express lane and wakers do not',
  },
  { name: 'R1', reachedBy: 'store', meaning: 'the relay is awake and about to claim' },
  { name: 'R2', reachedBy: 'store', meaning: 'the claim is sent, not answered' },
  {
    name: 'R3',
    reachedBy: 'transport',
    meaning: 'rows are claimed or born claimed, nothing is published',
  },
  {
    name: 'R4',
    reachedBy: 'transport',
    meaning: 'the first half of a batch is with the broker, the rest is not',
  },
  {
    name: 'R5',
    reachedBy: 'transport',
    meaning: 'the whole batch is with the broker, no confirm has been heard',
  },
  { name: 'R6', reachedBy: 'transport', meaning: 'the confirms of the first half have been heard' },
  { name: 'R7', reachedBy: 'store', meaning: 'confirms have been heard, settle is not sent' },
  { name: 'R8', reachedBy: 'store', meaning: 'settle is sent, not answered' },
  { name: 'R9', reachedBy: 'store', meaning: 'settled' },
  { name: 'C1', reachedBy: 'transport', meaning: 'a message has been received' },
  { name: 'C2', reachedBy: 'store', meaning: 'the transaction of the handler is open' },
  { name: 'C3', reachedBy: 'store', meaning: 'the inbox row is written' },
  { name: 'C4', reachedBy: 'test', meaning: 'in the middle of the handler' },
  { name: 'C5', reachedBy: 'store', meaning: 'the outgoing rows of the handler are written' },
  {
    name: 'C6',
    reachedBy: 'database',
    meaning: 'COMMIT of the handler has been executed, its answer has not been heard',
  },
  {
    name: 'C7',
    reachedBy: 'transport',
    meaning: 'the handler has committed, its message is not acknowledged',
  },
  {
    name: 'C8',
    reachedBy: 'transport',
    meaning: 'the acknowledgement is in the hands of the transport',
  },
] as const

export type CrashPoint = (typeof crashPointList)[number]['name']

/**
 * Called whenever a point is reached. It may end the process, wait (the code behind the point waits
 * with it), or throw (which the code in front of the point sees as a failure of its port). At C8
 * nobody waits, so an error thrown there becomes an unhandled rejection.
 */
export type AtCrashPoint = (point: CrashPoint) => void | Promise<void>

export interface CrashPointsOptions<Tx> {
  readonly store: Store<Tx>
  readonly transport: Transport
  readonly at: AtCrashPoint
}

/** Whose code runs: the ports are the same for the producer, the consumer and the relay. */
const phase = new AsyncLocalStorage<'delivery' | 'producer' | 'consumer' | 'relay'>()

/**
 * Wraps the ports of an app so that `at` is called at the points of `crashPointList`. The code of
 * the core is the same as without: it has no hooks. P5 and C6 need `commitPoints` as well, and C4
 * is called by the handler of the test.
 *
 * A batch is published in two halves, one after the other, so that R4 and R6 exist for batches of
 * two and more; of a key that was not confirmed in the first half, the second half answers
 * `unavailable` without being sent.
 */
export function crashPoints<Tx>(options: CrashPointsOptions<Tx>): {
  readonly store: Store<Tx>
  readonly transport: Transport
} {
  return {
    store: storeWithPoints(options.store, options.at),
    transport: transportWithPoints(options.transport, options.at),
  }
}

/** Only the points of the store. */
export function storeWithPoints<Tx>(store: Store<Tx>, at: AtCrashPoint): Store<Tx> {
  return overlay(store, {
    unitOfWork: unitOfWorkWithPoints((work, options) => store.unitOfWork(work, options), at),
    outbox: overlay(store.outbox, outboxWithPoints(store.outbox, at)),
    tracker: overlay(store.tracker, trackerWithPoints(store.tracker, at)),
  })
}

/**
 * Wraps a handle of `node:sqlite` or better-sqlite3 so that `at` is called right after a COMMIT has
 * been executed by a unit of work of a store that has its points too: P5, or C6 while a delivery is
 * handled. The database is synchronous, so `at` must end the process, block, or throw; what it
 * returns is not waited for.
 */
export function commitPoints<
  Database extends { exec(sql: string): unknown; prepare(sql: string): object },
>(database: Database, at: (point: CrashPoint) => void): Database {
  const reached = (): void => {
    const current = phase.getStore()
    if (current === 'producer') at('P5')
    else if (current === 'consumer') at('C6')
  }
  const isCommit = (sql: string): boolean => /^\s*(?:commit|end)\b/i.test(sql)
  return overlay(database, {
    exec: (sql: string): unknown => {
      const result = database.exec(sql)
      if (isCommit(sql)) reached()
      return result
    },
    prepare: (sql: string): object => {
      const statement = database.prepare(sql)
      return isCommit(sql) ? statementWithPoint(statement as CommitStatement, reached) : statement
    },
  } as Partial<Database>)
}

interface CommitStatement {
  run(...parameters: unknown[]): unknown
}

function statementWithPoint(statement: CommitStatement, reached: () => void): CommitStatement {
  return overlay(statement, {
    run: (...parameters) => {
      const result = statement.run(...parameters)
      reached()
      return result
    },
  })
}

/** The same object with some members replaced; its methods keep their `this`. */
function overlay<Target extends object>(target: Target, members: Partial<Target>): Target {
  return new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(members, name)) return Reflect.get(members, name) as unknown
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
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

/** Only the points of the transport. */
export function transportWithPoints(transport: Transport, at: AtCrashPoint): Transport {
  return overlay(transport, {
    publish: (messages, options) => {
      const answers = messages.map(() => Promise.withResolvers<PublishOutcome>())
      const publish = (part: readonly OutgoingMessage[]): Promise<PublishOutcome[]> =>
        Promise.all(transport.publish(part, options))
      void publishWithPoints(
        messages,
        publish,
        (index, outcome) => answers[index]?.resolve(outcome),
        at,
      )
      return answers.map(({ promise }) => promise)
    },
    consume: (consumption, onDelivery) =>
      transport.consume(consumption, (delivery) => deliverWithPoints(delivery, onDelivery, at)),
  })
}

type Answer = (index: number, outcome: PublishOutcome) => void

/** What `at` throws here becomes the outcome `unknown` of every message that has no answer yet. */
async function publishWithPoints(
  messages: readonly OutgoingMessage[],
  publish: (part: readonly OutgoingMessage[]) => Promise<PublishOutcome[]>,
  answer: Answer,
  at: AtCrashPoint,
): Promise<void> {
  try {
    await at('R3')
    const half = Math.floor(messages.length / 2)
    const first = await publish(messages.slice(0, half))
    if (half > 0) await at('R4')
    const second = await publishRest(
      messages.slice(half),
      unconfirmedKeys(messages, first),
      publish,
    )
    await at('R5')
    first.forEach((outcome, index) => answer(index, outcome))
    if (half > 0) {
      // Everybody who waits for an answer runs before the next point.
      await nextTurn()
      await at('R6')
    }
    second.forEach((outcome, index) => answer(half + index, outcome))
  } catch (thrown) {
    const error =
      thrown instanceof Error
        ? thrown
        : new Error('a value that is no Error was thrown at a crash point', { cause: thrown })
    messages.forEach((_, index) => answer(index, { kind: 'unknown', error }))
  }
}

function unconfirmedKeys(
  messages: readonly OutgoingMessage[],
  outcomes: readonly PublishOutcome[],
): ReadonlySet<string> {
  const keys = outcomes.map((outcome, index) =>
    outcome.kind === 'confirmed' ? undefined : messages[index]?.partitionKey,
  )
  return new Set(keys.filter((key) => key !== undefined))
}

async function publishRest(
  messages: readonly OutgoingMessage[],
  held: ReadonlySet<string>,
  publish: (part: readonly OutgoingMessage[]) => Promise<PublishOutcome[]>,
): Promise<PublishOutcome[]> {
  const free = messages.filter(
    ({ partitionKey }) => partitionKey === undefined || !held.has(partitionKey),
  )
  const outcomes = new Map((await publish(free)).map((outcome, index) => [free[index], outcome]))
  const error = new Error('an earlier message of the same key was not confirmed')
  return messages.map((message) => outcomes.get(message) ?? { kind: 'unavailable', error })
}

async function deliverWithPoints(
  delivery: Delivery,
  onDelivery: (delivery: Delivery) => Promise<Disposition>,
  at: AtCrashPoint,
): Promise<Disposition> {
  await at('C1')
  const disposition = await phase.run('delivery', () => onDelivery(delivery))
  if (disposition.kind !== 'ack') return disposition
  await at('C7')
  setImmediate(() => void at('C8'))
  return disposition
}
