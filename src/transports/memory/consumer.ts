import type { Consumption, Disposition } from '../../core/transport.ts'
import { nextTurn } from '../../lib/async/turn.ts'
import { deliver, type OnDelivery, postponedField } from '../shared/deliver.ts'
import type { MemoryQueue, QueueEntry, Rejection } from './queue.ts'

/** What a consumer reports besides: messages that were given up. */
export type OnRejected = (rejection: Rejection) => void

/**
 * A running consumption. Disposing waits for the callbacks; `breakOff` takes their messages away
 * from them.
 */
export interface Consumer extends AsyncDisposable {
  breakOff(reason: Error): void
}

interface Hold {
  readonly entry: QueueEntry
  readonly controller: AbortController
}

/**
 * After this many deliveries in a row the event loop gets a turn, so that a long queue starves
 * nobody.
 */
const DELIVERIES_PER_TURN = 100

export function startConsumer(
  queue: MemoryQueue,
  { concurrency }: Consumption,
  onDelivery: OnDelivery,
  onRejected: OnRejected,
): Consumer {
  const stop = new AbortController()
  const holds = new Set<Hold>()
  const handling = new Set<Promise<void>>()
  const broken = Promise.withResolvers<void>()
  let slotFreed = Promise.withResolvers<void>()
  const fetching = fetch()

  async function fetch(): Promise<void> {
    for (let count = 1; !stop.signal.aborted; count++) {
      if (count % DELIVERIES_PER_TURN === 0) await nextTurn()
      else await queue.changed(stop.signal)
      if (handling.size >= concurrency) await slotFreed.promise
      const entry = stop.signal.aborted ? undefined : queue.take()
      if (entry === undefined) continue
      const task: Promise<void> = handle(entry).finally(() => {
        handling.delete(task)
        slotFreed.resolve()
        slotFreed = Promise.withResolvers()
      })
      handling.add(task)
    }
  }

  async function handle(entry: QueueEntry): Promise<void> {
    const hold: Hold = { entry, controller: new AbortController() }
    holds.add(hold)
    entry.attempts++
    const disposition = await ask(hold)
    // After breakOff the message belongs to somebody else: what this callback says no longer
    // counts.
    if (holds.delete(hold)) settle(entry, disposition)
  }

  function ask({ entry, controller }: Hold): Promise<Disposition> {
    const { message, attempts, postponedSince } = entry
    const copy = { ...message, headers: { ...message.headers }, body: message.body.slice() }
    return deliver(onDelivery, {
      message: copy,
      queue: queue.name,
      attempt: attempts,
      ...postponedField(postponedSince),
      signal: controller.signal,
    })
  }

  function settle(entry: QueueEntry, disposition: Disposition): void {
    switch (disposition.kind) {
      case 'ack':
        return
      case 'retry':
        if (disposition.postponedSince !== undefined) {
          entry.postponedSince = disposition.postponedSince
          entry.attempts--
        }
        return queue.addLater(entry, disposition.delayMs)
      case 'release':
        entry.attempts--
        return queue.giveBack(entry)
      case 'reject':
        return onRejected({ entry, queue, reason: disposition.reason, error: disposition.error })
    }
  }

  return {
    breakOff(reason) {
      stop.abort()
      slotFreed.resolve()
      // Each goes to the front, so the last one first keeps their order.
      for (const { entry } of [...holds].toReversed()) queue.giveBack(entry)
      const lost = [...holds]
      holds.clear()
      for (const { controller } of lost) controller.abort(reason)
      broken.resolve()
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      slotFreed.resolve()
      await fetching
      while (holds.size > 0) await Promise.race([...handling, broken.promise])
    },
  }
}
