/** Faults of the network, in the proxies between the processes and the servers. */
import { setTimeout as sleep } from 'node:timers/promises'
import { serverKinds } from '../plan.ts'
import type { Proxy } from '../proxy.ts'
import { type Nemesis, pick, type Scene, upTo } from './nemesis.ts'

/** The lines of a place that has servers. */
export function linesOf({ place }: Scene): readonly (readonly [string, Proxy])[] {
  switch (place.kind) {
    case 'postgres':
    case 'nats':
    case 'redis':
    case 'kafka':
      return [
        ['database', place.databaseProxy],
        ['broker', place.brokerProxy],
      ]
    case 'mysql':
      return [['database', place.databaseProxy]]
    case 'sqlite':
      return []
    default:
      return place satisfies never
  }
}

const someLine = (scene: Scene): readonly [string, Proxy] => pick(scene.random, linesOf(scene))
const on = serverKinds

const reset: Nemesis = {
  name: 'reset',
  says: 'every connection to one server is reset',
  touches: 'network',
  on,
  async inject(scene) {
    const [name, proxy] = someLine(scene)
    const count = proxy.reset()
    if (count === 0) throw new Error(`no connection to the ${name}`)
    return `${count} to the ${name}`
  },
}

const blackHole: Nemesis = {
  name: 'black-hole',
  says: 'nothing reaches one server and nothing comes back, without a word; then everything arrives late, or is reset',
  touches: 'network',
  on,
  async inject(scene) {
    const [name, proxy] = someLine(scene)
    const before = proxy.troubled
    proxy.weather({ kind: 'black hole' })
    await sleep(upTo(scene.random, 2000, 5000))
    const late = scene.random() < 0.5
    if (!late) proxy.reset()
    proxy.weather({ kind: 'fair' })
    if (proxy.troubled === before) throw new Error(`nothing was sent to the ${name}`)
    return `${name}, then ${late ? 'late' : 'reset'}`
  },
}

const slow: Nemesis = {
  name: 'slow',
  says: 'everything to and from one server is late and comes in pieces of 1 to 100 bytes',
  touches: 'network',
  on,
  async inject(scene) {
    const [name, proxy] = someLine(scene)
    const before = proxy.troubled
    const chunk = Math.floor(upTo(scene.random, 1, 100))
    proxy.weather({ kind: 'slow', delayMs: upTo(scene.random, 5, 60), chunk })
    await sleep(upTo(scene.random, 2000, 4000))
    proxy.weather({ kind: 'fair' })
    if (proxy.troubled === before) throw new Error(`nothing was sent to the ${name}`)
    return `${name}, ${chunk} bytes at a time`
  },
}

export const networkFaults: readonly Nemesis[] = [reset, blackHole, slow]
