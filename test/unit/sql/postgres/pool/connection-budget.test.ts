import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type BudgetMember,
  connectionBudget,
  type ConnectionBudget,
  type Kept,
  type Turn,
} from '../../../../../src/sql/postgres/pool/connection-budget.ts'
import { manualClock } from '../../../../../src/testing/manual-clock.ts'

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Connections of a server that closes at once, or when the test says so. */
function server(slow = false) {
  const made = { open: 0, closed: 0, letGo: [] as (() => void)[] }
  const connect = (): Kept => {
    made.open++
    return {
      async close() {
        if (slow) await new Promise<void>((resolve) => made.letGo.push(resolve))
        made.open--
        made.closed++
      },
    }
  }
  return { made, connect }
}

/** Takes a turn, if it comes without waiting for anybody. */
async function now(member: BudgetMember): Promise<Turn | undefined> {
  let turn: Turn | undefined
  void member.take().then(
    (given) => (turn = given),
    () => {},
  )
  await settle()
  return turn
}

function budget(
  most: number,
  listeners?: number,
): { readonly clock: ReturnType<typeof manualClock>; readonly shared: ConnectionBudget } {
  const clock = manualClock()
  return {
    clock,
    shared: connectionBudget(
      listeners === undefined ? { most, clock } : { most, listeners, clock },
    ),
  }
}

describe('a budget of connections', () => {
  test('lends a connection that was kept before a new one is made', async () => {
    const { connect } = server()
    const member = budget(8).shared.join()
    const first = await member.take()
    expect(first.kept).toBeUndefined()
    const connection = connect()
    first.over(connection, { failed: false })
    expect((await member.take()).kept).toBe(connection)
  })

  test('closes what others keep when all of it is open, and waits until the server has let it go', async () => {
    const { made, connect } = server(true)
    const { shared } = budget(4, 0)
    const members = Array.from({ length: 5 }, () => shared.join())
    for (const member of members.slice(0, 4))
      (await member.take()).over(connect(), { failed: false })
    expect(shared.open).toBe(4)
    const waiting = members[4]!.take()
    await settle()
    expect(made.letGo.length).toBe(1)
    expect(shared.open).toBe(4)
    made.letGo[0]!()
    expect((await waiting).kept).toBeUndefined()
    expect(shared.open).toBe(4)
  })

  test('gives no store more than two turns, and leaves the last one to those that have one already', async () => {
    const { shared } = budget(4, 0)
    const [a, b, c, d] = Array.from({ length: 4 }, () => shared.join())
    expect([await now(a!), await now(b!), await now(c!)].every((turn) => turn !== undefined)).toBe(
      true,
    )
    expect(await now(d!)).toBeUndefined()
    const second = await now(a!)
    expect(second).toBeDefined()
    expect(await now(a!)).toBeUndefined()
  })

  test('lets two stores that need two connections at once get them one after the other', async () => {
    const { connect } = server()
    const { shared } = budget(4, 0)
    const both = async (member: BudgetMember): Promise<void> => {
      const first = await member.take()
      await settle()
      const second = await member.take()
      second.over(connect(), { failed: false })
      first.over(connect(), { failed: false })
    }
    await Promise.all(Array.from({ length: 10 }, () => both(shared.join())))
    expect(shared.open).toBeLessThanOrEqual(4)
  })

  test('gives stores in trouble half of the turns between them, so that the others go on', async () => {
    const { connect } = server()
    const { shared } = budget(11, 0)
    const troubled = Array.from({ length: 8 }, () => shared.join())
    for (const member of troubled) (await member.take()).over(undefined, { failed: true })
    const turns = await Promise.all(troubled.map(now))
    expect(turns.filter((turn) => turn !== undefined).length).toBe(5)
    for (let n = 0; n < 20; n++) {
      const well = await now(shared.join())
      expect(well).toBeDefined()
      well!.over(connect(), { failed: false })
    }
  })

  test('counts as trouble when work lasts longer than a second', async () => {
    const { clock, shared } = budget(5, 0)
    const [slow, slower, well] = [shared.join(), shared.join(), shared.join()]
    await slow.take()
    await slower.take()
    await clock.advance(1500)
    expect(await now(shared.join())).toBeDefined()
    const hers = await now(well)
    expect(hers).toBeDefined()
    hers!.over(undefined, { failed: true })
    expect(await now(well)).toBeUndefined()
  })

  test('refuses who has waited for fifteen seconds', async () => {
    const { clock, shared } = budget(4, 0)
    const member = shared.join()
    await member.take()
    await member.take()
    const third = expect(member.take()).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    await clock.advance(15_000)
    await third
    expect(clock.sleeping).toBe(0)
  })

  test('lets only so many listen, takes their connections off those that work, and passes a place on', async () => {
    const { shared } = budget(6, 2)
    const [a, b, c] = [shared.join(), shared.join(), shared.join()]
    const never = new AbortController()
    expect([await a.mayListen(never.signal), await b.mayListen(never.signal)]).toEqual([true, true])
    await a.takeListening()
    await b.takeListening()
    const stop = new AbortController()
    const refused = c.mayListen(stop.signal)
    const granted = shared.join().mayListen(never.signal)
    stop.abort()
    expect(await refused).toBe(false)
    a.giveBackListening()
    a.mayListenNoMore()
    expect(await granted).toBe(true)
    const turns = await Promise.all(Array.from({ length: 6 }, () => now(shared.join())))
    expect(turns.filter((turn) => turn !== undefined).length).toBe(3)
  })

  test('closes what a store keeps when it leaves, also what comes back later, and refuses who waits for it', async () => {
    const { made, connect } = server()
    const { shared } = budget(4, 0)
    const member = shared.join()
    const [first, second] = [await member.take(), await member.take()]
    first.over(connect(), { failed: false })
    const third = await member.take()
    expect(third.kept).toBeDefined()
    const waiting = expect(member.take()).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    await member.leave()
    await waiting
    second.over(connect(), { failed: false })
    third.over(third.kept, { failed: false })
    await settle()
    expect([made.open, shared.open]).toEqual([0, 0])
    await expect(member.take()).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    const other = shared.join()
    ;(await other.take()).over(connect(), { failed: false })
    await other.leave()
    expect([made.open, shared.open]).toEqual([0, 0])
  })

  test('is never exceeded, and everybody gets a turn at last, whatever they do', async () => {
    const step = fc.record({
      who: fc.nat(5),
      ms: fc.nat(1200),
      fails: fc.boolean(),
      twice: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 4, max: 9 }),
        fc.array(step, { maxLength: 40 }),
        async (most, steps) => {
          const { made, connect } = server()
          const { clock, shared } = budget(most, 0)
          const members = Array.from({ length: 6 }, () => shared.join())
          const seen = { done: 0 }
          const use = async (
            member: BudgetMember,
            { ms, fails, twice }: (typeof steps)[number],
          ): Promise<void> => {
            const turn = await member.take()
            const connection = turn.kept ?? connect()
            expect(made.open).toBeLessThanOrEqual(most)
            await clock.sleep(ms)
            if (twice) await use(member, { who: 0, ms: 1, fails, twice: false })
            turn.over(connection, { failed: fails })
            seen.done++
          }
          // One at a time for each store, as a claim loop does; so that nesting is at most two
          // deep.
          const tails = members.map(() => Promise.resolve())
          for (const given of steps)
            tails[given.who] = tails[given.who]!.then(() => use(members[given.who]!, given))
          const expected = steps.reduce((sum, { twice }) => sum + (twice ? 2 : 1), 0)
          for (let ms = 0; ms < 120_000 && seen.done < expected; ms += 100) await clock.advance(100)
          await Promise.all(tails)
          expect(seen.done).toBe(expected)
          expect(shared.open).toBe(made.open)
        },
      ),
      { numRuns: 25 },
    )
  })

  test.each([
    [{ most: 3 }, 'connectionBudget.most'],
    [{}, 'connectionBudget.most'],
    [{ most: 8, listeners: 5 }, 'connectionBudget.listeners: expected a whole number from 0 to 4'],
    [{ most: 8, listener: 5 }, "did you mean 'listeners'?"],
  ])('refuses %o', (options, text) => {
    expect(() => connectionBudget(options as never)).toThrow(text)
  })
})
