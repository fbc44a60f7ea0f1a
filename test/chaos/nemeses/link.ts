/** Links that are slow without a fault: nothing is lost, so nothing may be sent twice. */
import { setTimeout as sleep } from 'node:timers/promises'
import { serverKinds } from '../plan.ts'
import { type Nemesis, onCluster, pick, type ClusterScene, upTo } from './nemesis.ts'
import { linesOf } from './network.ts'

const thin: Nemesis = {
  name: 'thin',
  says: 'the link to one server carries 30 to 300 KB/s in each direction, for all processes together',
  touches: 'network',
  on: serverKinds,
  async inject(scene) {
    const { random } = scene
    const [name, proxy] = pick(random, linesOf(scene))
    const before = proxy.troubled
    const bytesPerSecond = Math.round(upTo(random, 30_000, 300_000))
    proxy.weather({ kind: 'thin', bytesPerSecond })
    await sleep(upTo(random, 3000, 6000))
    proxy.weather({ kind: 'fair' })
    if (proxy.troubled === before) throw new Error(`nothing was sent to the ${name}`)
    return `${name}, ${Math.round(bytesPerSecond / 1000)} KB/s`
  },
}

const deaf = onCluster({
  name: 'deaf',
  says: 'the broker reads nothing for seconds, so that its window closes; then it reads everything',
  touches: 'network',
  async inject({ place, random }: ClusterScene) {
    const proxy = place.brokerProxy
    const before = proxy.troubled
    proxy.weather({ kind: 'server does not read' })
    await sleep(upTo(random, 3000, 8000))
    proxy.weather({ kind: 'fair' })
    if (proxy.troubled === before) throw new Error('nothing was sent to the broker')
    return `${proxy.troubled - before} bytes waited`
  },
})

export const linkFaults: readonly Nemesis[] = [thin, deaf]
