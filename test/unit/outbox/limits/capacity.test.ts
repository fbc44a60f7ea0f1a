import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  ownCapacity,
  type SharedCapacity,
  shareCapacity,
} from '../../../../src/outbox/limits/capacity.ts'

describe('the room of one relay', () => {
  test('is whole batches, as long as one fits into the window', () => {
    const room = ownCapacity(1000)
    expect(room.next(500)).toBe(500)
    room.holds(500)
    expect(room.next(500)).toBe(500)
    room.holds(501)
    expect(room.next(500)).toBe(0)
  })
})

/** Members that take whatever they are given. */
function crowd(shared: SharedCapacity, count: number) {
  return Array.from({ length: count }, () => {
    const member = { held: 0, nudged: 0, take: (_: number) => 0, give: (_: number) => {} }
    const room = shared.join(() => member.nudged++)
    member.take = (batchSize) => {
      const rows = room.next(batchSize)
      member.held += rows
      room.holds(member.held)
      return rows
    }
    member.give = (rows) => {
      member.held -= rows
      room.holds(member.held)
    }
    return member
  })
}

describe('a window that relays share', () => {
  test('leaves a share for every relay, whatever one of them takes', () => {
    const shared = shareCapacity({ window: 1000, relays: 20 })
    const [greedy, ...others] = crowd(shared, 20)
    while (greedy!.take(500) > 0);
    expect(greedy!.held).toBeGreaterThanOrEqual(500)
    for (const other of others) expect(other.take(500)).toBeGreaterThanOrEqual(25)
    expect(shared.held).toBeLessThanOrEqual(1000)
  })

  test('is never exceeded, and a relay with empty hands always gets something', () => {
    const step = fc.record({
      who: fc.nat(6),
      batch: fc.integer({ min: 1, max: 700 }),
      back: fc.nat(100),
    })
    fc.assert(
      fc.property(
        fc.integer({ min: 14, max: 1500 }),
        fc.array(step, { maxLength: 80 }),
        (window, steps) => {
          const shared = shareCapacity({ window, relays: 7 })
          const members = crowd(shared, 7)
          for (const { who, batch, back } of steps) {
            const member = members[who]!
            const empty = member.held === 0
            const got = member.take(batch)
            expect(got).toBeLessThanOrEqual(batch)
            if (empty) expect(got).toBeGreaterThan(0)
            expect(shared.held).toBeLessThanOrEqual(window)
            expect(shared.held).toBe(members.reduce((sum, { held }) => sum + held, 0))
            member.give(Math.floor((member.held * back) / 100))
          }
        },
      ),
    )
  })

  test('lets a relay that holds something wait for a good part, and nudges it when that is there', () => {
    const shared = shareCapacity({ window: 1000, relays: 10 })
    const [busy, other] = crowd(shared, 10)
    expect(busy!.take(500)).toBe(500)
    expect(other!.take(500)).toBe(100)
    expect(busy!.take(500)).toBe(0)
    expect(busy!.nudged).toBe(0)
    busy!.give(300)
    expect(busy!.nudged).toBe(1)
    expect(busy!.take(500)).toBe(300)
  })

  test('gives what is free to the emptiest hands first', () => {
    const shared = shareCapacity({ window: 100, relays: 2 })
    const order: string[] = []
    const rooms = ['full', 'emptier'].map((name) => shared.join(() => order.push(name)))
    rooms[0]!.holds(60)
    rooms[1]!.holds(39)
    for (const room of rooms) expect(room.next(100)).toBe(0)
    rooms[0]!.holds(59)
    expect(order).toEqual(['emptier', 'full'])
  })
})
