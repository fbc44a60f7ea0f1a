import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { Transport } from '../../core/transport.ts'
import { type Run, rowAt } from './runs.ts'

/** Messages for one call of `publish`, with the run and the index in it that each belongs to. */
export interface Collected {
  readonly messages: OutgoingMessage[]
  readonly runs: Run[]
  readonly indexes: number[]
}

/** Collects what becomes ready in one moment, so that it reaches a transport in one call. */
export interface Collector {
  add(transport: Transport, run: Run, index: number): void
}

export function createCollector(
  publish: (transport: Transport, collected: Collected) => void,
): Collector {
  let ready = new Map<Transport, Collected>()

  function flush(): void {
    const flushed = ready
    ready = new Map()
    for (const [transport, collected] of flushed) publish(transport, collected)
  }

  return {
    add(transport, run, index) {
      if (ready.size === 0) queueMicrotask(flush)
      let collected = ready.get(transport)
      if (collected === undefined) {
        collected = { messages: [], runs: [], indexes: [] }
        ready.set(transport, collected)
      }
      collected.messages.push(rowAt(run, index).message)
      collected.runs.push(run)
      collected.indexes.push(index)
    },
  }
}
