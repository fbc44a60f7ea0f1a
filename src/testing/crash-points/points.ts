import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * The places on the way of a message where a crash is told apart from a crash at its neighbours.
 * `reachedBy` says who calls the hook: a wrapped port, the wrapped database handle
 * (`commitPoints`), or the code of the test itself.
 */
export const crashPointList = [
  { name: 'P1', reachedBy: 'store', meaning: 'the producer is about to begin its transaction' },
  { name: 'P2', reachedBy: 'store', meaning: 'the transaction is open, nothing is written' },
  { name: 'P3', reachedBy: 'store', meaning: 'business rows are written, outbox rows are not' },
  {
    name: 'P4',
    reachedBy: 'store',
    meaning: 'everything is written, or in hand to travel with COMMIT, which is not sent',
  },
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
  {
    name: 'C5',
    reachedBy: 'store',
    meaning:
      'the outgoing rows of the handler are written, or in hand to travel with COMMIT, which is not sent',
  },
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

/** Whose code runs. */
type Phase = 'delivery' | 'producer' | 'consumer' | 'relay'

/** The ports are the same for the producer, the consumer and the relay, so each sets its phase. */
export const phase: AsyncLocalStorage<Phase> = new AsyncLocalStorage<Phase>()
