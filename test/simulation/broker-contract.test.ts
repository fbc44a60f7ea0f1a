import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { Transport } from '../../src/core/transport.ts'
import { manualClock, type TransportHarness } from '../../src/testing/index.ts'
import { makeNetwork, route } from '../../src/transports/memory/network.ts'
import { connect } from '../../src/transports/memory/connection.ts'
import { createBroker } from './broker.ts'
import { createLedger, type Ledger } from './ledger.ts'
import { createScheduler, type Owner, type Scheduler } from './scheduler.ts'
import { transportSuite } from '../contract/transport-suite.ts'

/**
 * The broker of the simulation, without faults, as an adapter like all others, so that it cannot
 * drift from the real ones. It only takes messages; queues, topics and consumers are those of the
 * memory network.
 */
function harness(ordering: 'none' | 'per-key'): TransportHarness {
  const scheduler = createScheduler(1)
  const ledger = createLedger(() => scheduler.now)
  const clock = manualClock()
  const network = makeNetwork({ clock, maxMessageBytes: 2_000_000 })
  const broker = createBroker(scheduler, ledger, ordering, (message) => route(network, message))
  const running = new AbortController()
  void keepGoing(scheduler, running.signal)
  let opened = 0
  return {
    open() {
      const owner: Owner = { name: `p${opened++}`, alive: true, pausedUntil: 0 }
      return Promise.resolve(
        joined(
          broker.transportFor(owner, { published: () => {}, crash: () => {} }),
          connect(network),
          ledger,
        ),
      )
    },
    orderPerKey: 'never',
    name: (label) => label,
    elapse: (ms) => clock.advance(ms),
    crash: (transport) => Promise.resolve(transport[Symbol.asyncDispose]()),
    deadLetters: () => network.dead.box,
    [Symbol.asyncDispose]: () => {
      running.abort()
      return Promise.resolve()
    },
  }
}

/** Publishes with the one, receives with the other. */
function joined(publisher: Transport, subscriber: Transport, ledger: Ledger): Transport {
  return {
    name: publisher.name,
    features: publisher.features,
    ...(subscriber.operations === undefined ? {} : { operations: subscriber.operations }),
    publish(messages, options) {
      for (const message of messages) enter(ledger, message)
      return publisher.publish(messages, options)
    },
    subscribe: (queue, topics, options) => subscriber.subscribe(queue, topics, options),
    consume: (consumption, onDelivery) => subscriber.consume(consumption, onDelivery),
    async [Symbol.asyncDispose]() {
      await publisher[Symbol.asyncDispose]()
      await subscriber[Symbol.asyncDispose]()
    },
  }
}

function enter({ records }: Ledger, { id, partitionKey: key, to }: OutgoingMessage): void {
  const counts = { publishes: 0, accepted: [], refusals: 0, faults: 0, losses: 0, hits: 0 }
  records.set(id, {
    id,
    key,
    to: to.name,
    nature: 'plain',
    position: undefined,
    committed: true,
    ...counts,
  })
}

/** Virtual time passes whenever something is due in it. */
async function keepGoing(scheduler: Scheduler, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await scheduler.run(Number.POSITIVE_INFINITY, () => signal.aborted)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

for (const ordering of ['none', 'per-key'] as const)
  transportSuite(`the simulated broker, ordering ${ordering}`, () => harness(ordering))
