/** Faults of the process of a broker, whichever it is. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerServer } from '../places/cluster.ts'
import { clusterKinds } from '../plan.ts'
import { type Nemesis, onCluster, upTo } from './nemesis.ts'

async function killedFor(server: BrokerServer, ms: number): Promise<void> {
  await server.signal('SIGKILL')
  await sleep(ms)
  await server.start()
}

const restart = onCluster({
  name: 'broker-restart',
  says: 'the broker is stopped in good order and started again',
  touches: 'broker',
  async inject({ place: { brokerServer }, random }) {
    await brokerServer.stop()
    await sleep(upTo(random, 0, 1500))
    await brokerServer.start()
    return 'restarted'
  },
})

const crash = onCluster({
  name: 'broker-crash',
  says: 'SIGKILL to the broker',
  touches: 'broker',
  async inject({ place: { brokerServer }, random }) {
    await killedFor(brokerServer, upTo(random, 0, 1500))
    return 'killed'
  },
})

const pause = onCluster({
  name: 'broker-pause',
  says: 'the broker stands still (SIGSTOP) for longer than a confirm may take, where there are holds at times for longer than one, and goes on',
  touches: 'broker',
  async inject({ place: { brokerServer, kind }, random }) {
    const ms = upTo(random, 2500, kind === 'postgres' ? 5000 : 6500)
    await brokerServer.signal('SIGSTOP')
    await sleep(ms)
    await brokerServer.signal('SIGCONT')
    return `${Math.round(ms)} ms`
  },
})

const away: Nemesis = {
  ...onCluster({
    name: 'broker-away',
    says: 'the broker is killed and stays away for seconds',
    touches: 'broker',
    async inject({ place: { brokerServer }, random }) {
      const ms = upTo(random, 3000, 8000)
      await killedFor(brokerServer, ms)
      return `${Math.round(ms)} ms`
    },
  }),
  // RabbitMQ stays away for as long when it is only started again.
  on: clusterKinds.filter((kind) => kind !== 'postgres'),
}

export const brokerServerFaults: readonly Nemesis[] = [restart, crash, pause, away]
