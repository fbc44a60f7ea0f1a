import type { DeadLetterBox } from '../core/dead-letter.ts'
import { connect, type MemoryTransport } from './memory/connection.ts'
import { makeNetwork, type MemoryNetworkOptions } from './memory/network.ts'

export type { MemoryTransport } from './memory/connection.ts'
export type { MemoryNetworkOptions } from './memory/network.ts'

/**
 * A broker inside the process. Apps that shall talk to each other take their transports from the
 * same one.
 */
export interface MemoryNetwork {
  /**
   * A connection of its own; disposing it does not touch the others, nor what the network holds.
   */
  transport(): MemoryTransport
  readonly deadLetters: DeadLetterBox
}

/**
 * A broker that lives and dies with the process: queues, topics, attempts, delayed retries and dead
 * letters, for tests and for several apps in one process. NOTHING IN IT SURVIVES THE END OF THE
 * PROCESS: "confirmed" means that it is in memory. A message in the hands of a consumer comes back
 * when its transport is disposed; there is no other time limit.
 *
 * Throws `MERSAL_INVALID_OPTIONS`.
 */
export function memoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  const network = makeNetwork(options)
  return { transport: () => connect(network), deadLetters: network.dead.box }
}

/** A transport of a network of its own, for one app; see `memoryNetwork`. */
export function memoryTransport(options: MemoryNetworkOptions = {}): MemoryTransport {
  return memoryNetwork(options).transport()
}
