/**
 * The way up and back. One build works alone, the tables get newer beneath it, both work beside
 * each other, and the older one goes on alone.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { PreviousBuild } from '../chaos/builds.ts'
import { ownSource } from '../chaos/source.ts'
import { DELAYED_AT_ONCE, type Body, HELD, type Letter, STRAY } from './plan.ts'
import type { Place } from './places/place.ts'
import { migrate, type Program, start } from './program.ts'

/** What a build has to do beside the other one. */
const ENOUGH = 40

export interface Journey {
  /** What `mersal migrate` printed. */
  readonly migrated: string
  /** What the older build says to newer tables if it looks at their version. */
  readonly refused: string
  /** Delayed messages that waited during the migration, and while the older build was alone. */
  readonly waited: readonly [number, number]
  /** Confirms of each process while both builds worked. */
  readonly published: Readonly<Record<'old' | 'oldRelay' | 'new' | 'newRelay', number>>
  /** Messages that each build handled while both worked. */
  readonly handled: Readonly<Record<'old' | 'new', number>>
  /** As the older build listed them at first, the present one, and the older one at last. */
  readonly letters: readonly (readonly Letter[])[]
  readonly counters: Readonly<Record<string, number>>
  readonly arrivals: readonly Body[]
  readonly strays: readonly Body[]
  readonly effects: readonly Body[]
  readonly kept: number
}

/** What ends it if it does not come true is the time limit of the test. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(50)
}

/** Until nothing is open but what the missing queue holds back. */
async function settled(place: Place, behind: number): Promise<void> {
  await until(async () => (await place.open()) === behind)
}

/** A lost message has no effect: what is missing after this is found by the test. */
const PATIENCE_MS = 30_000

async function effectsOf(place: Place): Promise<void> {
  const late = performance.now() + PATIENCE_MS
  await until(async () => {
    if (performance.now() > late) return true
    const counters = Object.entries(await place.counters())
    const booked = counters.filter(([line]) => line !== HELD && line !== STRAY)
    const expected = booked.reduce((sum, [, n]) => sum + n, 0)
    return (await place.effects()).length >= expected
  })
}

type Crew = Readonly<Record<'old' | 'oldRelay' | 'new' | 'newRelay', Program>>

/** Both builds write, handle and publish, until each process has done enough. */
async function together({ old, oldRelay, new: fresh, newRelay }: Crew): Promise<{
  readonly published: Journey['published']
  readonly handled: Journey['handled']
}> {
  const since = { old: old.published(), oldRelay: oldRelay.published(), handled: old.handled() }
  const writing = [old.order('write'), fresh.order('write')]
  const published = (): Journey['published'] => ({
    old: old.published() - since.old,
    oldRelay: oldRelay.published() - since.oldRelay,
    new: fresh.published(),
    newRelay: newRelay.published(),
  })
  const handled = (): Journey['handled'] => ({
    old: old.handled() - since.handled,
    new: fresh.handled(),
  })
  await until(() => Object.values({ ...published(), ...handled() }).every((n) => n >= ENOUGH))
  await Promise.all([old.order('quiet'), fresh.order('quiet'), ...writing])
  return { published: published(), handled: handled() }
}

/** `previous`: the older build. The tables are as it has made them, or it makes them. */
export async function upAndBack(place: Place, previous: PreviousBuild): Promise<Journey> {
  await using crew = new AsyncDisposableStack()
  const board = async (source: string, role: 'app' | 'relay'): Promise<Program> =>
    crew.use(await start(source, place.address, role))
  const old = await board(previous.first.source, 'app')
  const oldRelay = await board(previous.first.source, 'relay')
  await old.order('burden')
  await settled(place, DELAYED_AT_ONCE + 1)
  const letters = [await old.letters()]
  const writing = old.order('write')
  const migrated = await migrate(place)
  const waitedFirst = await place.notYet()
  await old.order('quiet')
  await writing

  const fresh = await board(ownSource, 'app')
  const newRelay = await board(ownSource, 'relay')
  const both = await together({ old, oldRelay, new: fresh, newRelay })

  // Rolls back, while the present build still works.
  await Promise.all([old.stop(), oldRelay.stop()])
  const refused = await start(previous.first.source, place.address, 'app').then(
    () => 'nothing',
    String,
  )
  // What the present build gives up alone has a history, which the older one leaves as it is.
  await fresh.order('burden')
  await until(async () => (await fresh.letters()).length === 3)
  const back = await board(previous.back.source, 'app')
  const backRelay = await board(previous.back.source, 'relay')
  letters.push(await fresh.letters())
  await Promise.all([fresh.stop(), newRelay.stop()])
  const waitedLast = await place.notYet()
  const alone = back.order('write')
  const handledAlone = back.handled()
  await until(() => back.handled() - handledAlone >= ENOUGH && backRelay.published() >= ENOUGH)
  await back.order('quiet')
  await alone
  await settled(place, 3)
  letters.push(await back.letters())
  await place.makeNowhere()
  await back.order('retry')
  await settled(place, 0)
  await effectsOf(place)
  await Promise.all([back.stop(), backRelay.stop()])
  return {
    migrated,
    refused,
    waited: [waitedFirst, waitedLast],
    ...both,
    letters,
    counters: await place.counters(),
    arrivals: await place.arrivals(),
    strays: await place.strays(),
    effects: await place.effects(),
    kept: await place.kept(),
  }
}
