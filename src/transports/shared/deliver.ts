import type { Delivery, Disposition } from '../../core/transport.ts'
import { toError } from '../../lib/async/abort.ts'

/** The application's side of a consumption. */
export type OnDelivery = (delivery: Delivery) => Promise<Disposition>

/** What the callback decides. One that throws, or returns no promise, counts as `retry` at once. */
export async function deliver(onDelivery: OnDelivery, delivery: Delivery): Promise<Disposition> {
  try {
    return await onDelivery(delivery)
  } catch (thrown) {
    return { kind: 'retry', delayMs: 0, error: toError(thrown) }
  }
}

/** The field of a delivery whose handler has asked for it again later; else no field. */
export function postponedField(since: number | null | undefined): Pick<Delivery, 'postponedSince'> {
  return since === null || since === undefined ? {} : { postponedSince: since }
}

/** Work under way, so that a consumer that stops can wait for all of it. */
export interface InHand {
  readonly count: number
  /** Adds one piece of work, which must not reject. */
  add(work: Promise<void>): void
  /** Resolves when nothing is in hand, whatever is added meanwhile. */
  settled(): Promise<void>
}

export function inHand(): InHand {
  const running = new Set<Promise<void>>()
  return {
    get count() {
      return running.size
    },
    add(work) {
      running.add(work)
      void work.finally(() => running.delete(work))
    },
    async settled() {
      while (running.size > 0) await Promise.all(running)
    },
  }
}
