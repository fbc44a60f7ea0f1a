import { setTimeout as pause } from 'node:timers/promises'
import type { ConsumeMessage } from 'amqplib'
import { expect } from 'vitest'
import { canary } from '../broker.ts'
import { addRow, type Row } from './fault-table.ts'
import { handledOf } from './handled.ts'
import { inversions } from './inversions.ts'
import { recordOf, type Record } from './record.ts'
import { keyOf, type Shop } from './shop.ts'
import type { Tap } from './tap.ts'

export interface Fault {
  /** As it stands in the table. */
  readonly name: string
  readonly inject: () => Promise<unknown>
  /** Whether the fault can be seen: an answer of the broker, a line in the log. */
  readonly landed: (seen: {
    readonly record: Record
    readonly log: string
    readonly since: number
  }) => boolean
  /** Ends the fault; may tell the moment, if it is not that of its end. */
  readonly heal?: () => Promise<number | void>
  /** The fault destroys what queues of the broker held, which is then no loss of ours. */
  readonly wipes?: boolean
  /** Looks further, before the next fault. */
  readonly afterwards?: () => Promise<void>
  /** Dead letters that this fault makes. */
  readonly dead?: number
}

/** Long enough for the slowest of them on a busy machine; the figures are in the table. */
const PATIENCE_MS = 60_000
/** Promised are 5 s; the rest is for a busy machine. */
const HEALED_WITHIN_MS = 15_000

async function until(
  what: string,
  condition: () => boolean,
  log: () => string = () => '',
): Promise<void> {
  for (const began = performance.now(); !condition(); await pause(25)) {
    if (performance.now() - began > PATIENCE_MS)
      throw new Error(`waited in vain for: ${what} (at ${Math.round(performance.now())})\n${log()}`)
  }
}

interface Published {
  readonly n: number
  readonly id: string
}

function published({ content, properties }: ConsumeMessage): Published {
  return {
    n: (JSON.parse(content.toString()) as { n: number }).n,
    id: properties.messageId as string,
  }
}

/**
 * Puts the app through one fault while it writes, and compares what was committed with what
 * arrived.
 */
export function ordeal(shop: Shop, tap: Tap): { run(fault: Fault): Promise<Row> } & Disposable {
  const record = recordOf(shop.app.name)
  const handled = handledOf(shop.app.name)
  let before = 0

  async function run(fault: Fault): Promise<Row> {
    record.clear()
    const lines = shop.log.length
    const log = (): string =>
      shop.log
        .slice(lines)
        .map(({ level, all, at }) => `${Math.round(at)} ${level} ${all.slice(0, 500)}`)
        .join('\n')
    const stop = shop.write()
    await until('some orders before the fault', () => shop.committed().length > before + 20)
    const since = performance.now()
    await fault.inject()
    await until(
      `proof of the fault '${fault.name}'`,
      () => fault.landed({ record, log: log(), since }),
      log,
    )
    const atFault = shop.committed().length
    // The commit never needs the broker.
    await until('orders during the fault', () => shop.committed().length > atFault + 50)
    const told = await fault.heal?.()
    const healed = told ?? performance.now()
    const recovered = (): boolean =>
      record.firstConfirmAfter(healed) < Infinity && handled.firstAfter(healed) < Infinity
    await until(`recovery from '${fault.name}'`, recovered, log)
    const atHeal = shop.committed().length
    await until('some orders after it', () => shop.committed().length > atHeal + 20)
    await stop()
    const row = await count(fault, healed, log)
    expect(log()).not.toContain(canary.password)
    await fault.afterwards?.()
    addRow(row)
    return row
  }

  /** Ids of messages that the broker had, and that somebody may have taken away there. */
  function wiped(fault: Fault, healed: number): ReadonlySet<string> {
    if (fault.wipes !== true) return new Set()
    return new Set(
      record.all
        .filter((each) => each.outcome === 'confirmed' && each.at < healed)
        .map(({ id }) => id),
    )
  }

  async function count(fault: Fault, healed: number, log: () => string): Promise<Row> {
    const orders = shop.committed().slice(before)
    before += orders.length
    await until(`an empty outbox after '${fault.name}'`, () => shop.pending() === 0, log)
    const gone = wiped(fault, healed)
    const missing = (): readonly number[] => {
      const effects = shop.effects()
      return orders.filter((n) => !effects.has(n) && !gone.has(shop.ids(n).booked))
    }
    await until(
      `the effects of all orders after '${fault.name}'`,
      () => missing().length === 0,
      () => `${missing().length} missing: ${missing().slice(0, 20).join(' ')}\n${log()}`,
    )
    const effects = shop.effects()
    const arrived = (await tap.drain()).map(published)
    const copies = Map.groupBy(arrived, ({ n }) => n)
    const known = new Set(orders)
    const absent = orders.filter((n) => !copies.has(n))
    const lost = absent.filter((n) => !gone.has(shop.ids(n).placed))
    const phantom = [...copies.keys(), ...effects.keys()].filter(
      (n) => n >= orders[0]! && !known.has(n),
    )
    const repeated = [...copies.values()].filter((each) => each.length > 1)
    const unexplained = repeated.filter(
      (each) => each.length - 1 > record.of(each[0]!.id, 'unknown'),
    )
    expect({
      lost,
      phantom,
      unexplained,
      inversions: inversions(arrived.map(({ n }) => ({ key: keyOf(n), n }))),
      effectsTwice: [...effects].filter(([, times]) => times > 1),
      dead: shop.deadLetters(),
    }).toEqual({
      lost: [],
      phantom: [],
      unexplained: [],
      inversions: 0,
      effectsTwice: [],
      dead: fault.dead ?? 0,
    })
    const publishMs = Math.round(record.firstConfirmAfter(healed) - healed)
    const handleMs = Math.round(handled.firstAfter(healed) - healed)
    expect(Math.max(publishMs, handleMs)).toBeLessThan(HEALED_WITHIN_MS)
    const effectsGone = orders.filter((n) => !effects.has(n)).length
    return {
      fault: fault.name,
      messages: orders.length * 2,
      lost: lost.length,
      phantom: phantom.length,
      duplicates: arrived.length - copies.size,
      unanswered: record.count('unknown'),
      charged: record.attemptsCharged(),
      wiped: absent.length + effectsGone,
      publishMs,
      handleMs,
    }
  }

  return {
    run,
    [Symbol.dispose]: () => [record, handled].forEach((each) => each[Symbol.dispose]()),
  }
}
