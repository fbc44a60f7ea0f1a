import { channel } from 'node:diagnostics_channel'
import type { EventName, Events } from '../core/telemetry.ts'

export type On = <Name extends EventName>(
  name: Name,
  listener: (event: Events[Name]) => void,
) => void

/** Listens to events until it is disposed of. */
export function eventListeners(): { readonly on: On } & Disposable {
  const undo: (() => void)[] = []
  return {
    on(name, listener) {
      const target = channel(name)
      const subscriber = (event: unknown): void => listener(event as Events[typeof name])
      target.subscribe(subscriber)
      undo.push(() => target.unsubscribe(subscriber))
    },
    [Symbol.dispose]: () => {
      for (const one of undo) one()
    },
  }
}
