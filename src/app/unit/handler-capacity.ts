import type { UnitCapacity } from '../../core/store.ts'
import type { Logger } from '../../core/telemetry.ts'
import { slots } from '../../lib/async/slots.ts'
import type { RunUnit } from './run-unit.ts'

/** Connections that the transactions of handlers leave to other work. */
const LEFT = 2

/** How many handlers may have a transaction at one time. Undefined: as many as there are. */
export function mostHandlerUnits(capacity: UnitCapacity | undefined): number | undefined {
  return capacity?.most === undefined ? undefined : Math.max(1, capacity.most - LEFT)
}

/**
 * Limits how many handlers have a transaction at one time. If handlers held every connection of a
 * pool and each asked the pool for one more, they would wait for each other for ever.
 */
export function handlerUnits<Tx>(runUnit: RunUnit<Tx>, most: number | undefined): RunUnit<Tx> {
  if (most === undefined) return runUnit
  const places = slots(most)
  const never = new AbortController().signal
  return async (request) => {
    const stopping = request.givingUp ?? request.signal ?? never
    if (!(await places.take(stopping))) throw stopping.reason
    try {
      return await runUnit(request)
    } finally {
      places.giveBack()
    }
  }
}

/** Logs at the start that the pool has too few connections for `receive.concurrency`. */
export function warnOfFewConnections(
  {
    app,
    concurrency,
    logger,
  }: { readonly app: string; readonly concurrency: number | undefined; readonly logger: Logger },
  capacity: UnitCapacity | undefined,
): void {
  const most = mostHandlerUnits(capacity)
  if (most === undefined || concurrency === undefined || concurrency <= most) return
  const text =
    `receive.concurrency is ${concurrency}, but the pool has ${capacity?.most} connections: ` +
    `at most ${most} handlers have a transaction at a time, so that what they ask of the pool besides finds one. ` +
    `Give the pool max: ${concurrency + LEFT}, or lower receive.concurrency`
  logger.warn({ app, concurrency, connections: capacity?.most, handlers: most }, text)
}
