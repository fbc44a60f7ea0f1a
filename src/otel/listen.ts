import { tracingChannel } from 'node:diagnostics_channel'
import type { OperationName, Operations } from '../core/traced.ts'

/** What is done at the beginning of an operation, and at its end with what the beginning made. */
export interface Listener<Name extends OperationName, State> {
  readonly start: (facts: Operations[Name]) => State
  readonly end: (facts: Operations[Name], state: State) => void
}

function nothing(): void {}

/** Listens to an operation of these apps, until it is disposed of. */
export function listen<Name extends OperationName, State>(
  name: Name,
  isWatched: (app: string) => boolean,
  { start, end }: Listener<Name, State>,
): Disposable {
  const states = new WeakMap<object, { readonly state: State }>()
  const subscribers = {
    start(given: object): void {
      const facts = given as Operations[Name]
      if (isWatched(facts.app)) states.set(facts, { state: start(facts) })
    },
    end: nothing,
    asyncStart: nothing,
    asyncEnd(given: object): void {
      const begun = states.get(given)
      if (begun !== undefined) end(given as Operations[Name], begun.state)
    },
    error: nothing,
  }
  const channel = tracingChannel<object>(`mersal:${name}`)
  channel.subscribe(subscribers)
  return { [Symbol.dispose]: () => channel.unsubscribe(subscribers) }
}

/** Disposes of all of them. */
export function together(all: readonly Disposable[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const one of all) one[Symbol.dispose]()
    },
  }
}
