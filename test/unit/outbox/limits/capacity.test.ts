import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  changingCapacity,
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

describe('a window of relays that come and go', () => {
  const open = () => {
    let now = 0
    const shared = changingCapacity({
      windowOf: (relays) => Math.max(1000, 20 * relays),
      now: () => now,
    })
    return { shared, pass: (ms: number) => (now += ms) }
  }

  test('is divided anew by whoever joins and leaves', () => {
    const { shared } = open()
    const first = shared.join(() => {})
    expect(first.next(2000)).toBe(1000)
    first.holds(900)
    const second = shared.join(() => {})
    expect(second.next(2000)).toBe(250)
    second.holds(600)
    first.holds(0)
    let nudged = 0
    const third = shared.join(() => nudged++)
    third.holds(166)
    expect(third.next(2000)).toBe(0)
    second.leave()
    expect(nudged).toBe(1)
    expect(third.next(2000)).toBe(584)
    expect(shared.held).toBe(166)
  })

  test('keeps for each its share of what its process commits, also while a claim keeps room', () => {
    const { shared } = open()
    const busy = shared.join(() => {})
    const other = shared.join(() => {})
    busy.holds(busy.next(500))
    other.holds(other.next(500))
    expect(other.lane(0, 250)).toBe(true)
    expect(other.lane(0, 251)).toBe(false)
    expect(busy.lane(500, 1)).toBe(false)
  })

  test('makes claims small and seldom while others commit, and large a second later', () => {
    const { shared, pass } = open()
    const busy = shared.join(() => {})
    const other = shared.join(() => {})
    pass(10_000)
    expect(busy.next(500)).toBe(500)
    other.lane(0, 1)
    expect(busy.next(500)).toBe(50)
    expect(busy.free(500)).toBe(50)
    busy.holds(50)
    busy.holds(0)
    expect(busy.next(500)).toBe(0)
    pass(40)
    expect(busy.next(500)).toBe(50)
    pass(1000)
    expect(busy.next(500)).toBe(500)
    // What it commits itself makes none of its own claims small.
    busy.lane(0, 1)
    expect(busy.next(500)).toBe(500)
  })
})
