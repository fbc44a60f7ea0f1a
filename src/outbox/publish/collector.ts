import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { Transport } from '../../core/transport.ts'
import type { Run } from './runs.ts'

/** Messages for one call of `publish`, with the run and the index in it that each belongs to. */
export interface Hands {
  readonly messages: OutgoingMessage[]
  readonly runs: Run[]
  readonly indexes: number[]
}

/** Collects what becomes ready in one moment, so that it reaches a transport in one call. */
export interface Collector {
  add(transport: Transport, run: Run, index: number): void
}

export function createHands(publish: (transport: Transport, hands: Hands) => void): Collector {
  let collected = new Map<Transport, Hands>()

  function flush(): void {
    const ready = collected
    collected = new Map()
    for (const [transport, hands] of ready) publish(transport, hands)
  }

  return {
    add(transport, run, index) {
      if (collected.size === 0) queueMicrotask(flush)
      let hands = collected.get(transport)
      if (hands === undefined) {
        hands = { messages: [], runs: [], indexes: [] }
        collected.set(transport, hands)
      }
      hands.messages.push(run.rows[index]?.message as OutgoingMessage)
      hands.runs.push(run)
      hands.indexes.push(index)
    },
  }
}
