import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Events } from '../../../src/core/telemetry.ts'

/** When one app had handled something, from the diagnostics channel. */
export function handledOf(app: string): Disposable & { firstAfter(at: number): number } {
  const times: number[] = []
  const onHandle = (event: unknown): void => {
    const handled = event as Events['mersal:handle']
    if (handled.app === app && handled.outcome === 'handled') times.push(performance.now())
  }
  subscribe('mersal:handle', onHandle)
  return {
    firstAfter: (at) => times.find((each) => each > at) ?? Number.POSITIVE_INFINITY,
    [Symbol.dispose]: () => void unsubscribe('mersal:handle', onHandle),
  }
}
