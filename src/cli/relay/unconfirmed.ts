import { channel } from 'node:diagnostics_channel'
import type { EventName, Events } from '../../core/telemetry.ts'

/** A destination, with the relay that has messages for it. */
export interface UnconfirmedPlace {
  readonly app: string
  readonly destination: string
}

/** What the relays of this process have not seen confirmed; others may have since. */
export interface Unconfirmed extends Disposable {
  places(): readonly UnconfirmedPlace[]
}

/** Of one destination more messages are not told apart. */
const MOST_IDS = 1000

interface Place {
  readonly app: string
  readonly destination: string
  /** Its breaker is not closed. */
  silent: boolean
  /** Messages whose last publish was not confirmed. */
  readonly ids: Set<string>
  /** There were more of them than are told apart: that nothing is left is not known any more. */
  more: boolean
}

/**
 * Notes from now on, for each relay and destination, what was published and not confirmed. A breaker
 * alone does not tell it: it opens after several failures.
 */
export function watchUnconfirmed(): Unconfirmed {
  const places = new Map<string, Place>()
  const placeOf = (app: string, destination: string): Place => {
    const key = JSON.stringify([app, destination])
    const place = places.get(key) ?? {
      app,
      destination,
      silent: false,
      ids: new Set(),
      more: false,
    }
    places.set(key, place)
    return place
  }
  const follows = [
    follow('mersal:breaker', ({ app, destination, state }) => {
      placeOf(app, destination).silent = state !== 'closed'
    }),
    follow('mersal:publish', ({ app, to, id, outcome }) => {
      const place = placeOf(app, to)
      if (outcome === 'confirmed') place.ids.delete(id)
      else if (place.ids.has(id) || place.ids.size < MOST_IDS) place.ids.add(id)
      else place.more = true
    }),
    follow('mersal:dead', ({ app, to, id }) => void placeOf(app, to).ids.delete(id)),
    follow('mersal:expired', ({ app, place, id, by }) => {
      if (by === 'relay') placeOf(app, place).ids.delete(id)
    }),
  ]
  return {
    places: () =>
      [...places.values()]
        .filter(({ silent, ids, more }) => silent || more || ids.size > 0)
        .map(({ app, destination }) => ({ app, destination })),
    [Symbol.dispose]() {
      for (const unfollow of follows) unfollow()
    },
  }
}

function follow<Name extends EventName>(
  name: Name,
  note: (event: Events[Name]) => void,
): () => void {
  const events = channel(name)
  const listener = (event: unknown): void => note(event as Events[Name])
  events.subscribe(listener)
  return () => {
    events.unsubscribe(listener)
  }
}
