import type { Msg } from '@nats-io/transport-node'
import { apiCodeOf, apiCodes } from '../connection/faults.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { Topology } from '../topology/topology.ts'
import type { Arrival } from './delivery.ts'
import { toHeaders } from '../publish/wire.ts'

/**
 * What is to be known at the next delivery of a message. JetStream counts deliveries, also those
 * that are charged to nobody, and a negative acknowledgement carries nothing.
 */
export interface State {
  /** The count of JetStream when this was written, and the attempts that were charged by then. */
  readonly delivered: number
  readonly attempts: number
  readonly postponedSince?: number
  /** In order: when it is to be tried again, in milliseconds since the Unix epoch. */
  readonly dueAt?: number
  /** In order: so long it was to wait then, in milliseconds. */
  readonly delayMs?: number
  /** In order: the last of the attempts was begun, and nobody has written how it ended. */
  readonly begun?: boolean
  /** It was given up, and could not be stored as a dead letter. */
  readonly aside?: { readonly reason: string; readonly error: string; readonly times: number }
}

export function attemptOf({ delivered }: Arrival, state: State | undefined): number {
  if (state === undefined) return delivered
  return Math.max(1, state.attempts + delivered - state.delivered)
}

/** Where these are kept, by queue and message. */
export class States {
  readonly #publisher: Pick<Publisher, 'send'>
  readonly #topology: Topology

  constructor(publisher: Pick<Publisher, 'send'>, topology: Topology) {
    this.#publisher = publisher
    this.#topology = topology
  }

  /** Of a message that is handed out for the first time there is none. */
  async read(queue: string, arrival: Arrival): Promise<State | undefined> {
    return arrival.delivered <= 1 ? undefined : this.recall(queue, arrival)
  }

  /** Also of one that this consumer hands out for the first time. */
  async recall(queue: string, { key }: Pick<Arrival, 'key'>): Promise<State | undefined> {
    const { names } = this.#topology
    const query = { last_by_subj: names.stateOf(queue, key) }
    const found = await this.#topology.ask('reading the attempts of a message', ({ manager }) =>
      manager.streams.getMessage(names.state, query).catch((error: unknown) => {
        // Somebody has deleted the stream: then the count of JetStream is all that there is.
        if (apiCodeOf(error) === apiCodes.streamNotFound) return null
        throw error
      }),
    )
    return found === null ? undefined : parse(found)
  }

  /** Whether it is stored. */
  async write(queue: string, { key }: Arrival, state: State): Promise<boolean> {
    const answer = await this.#publisher.send({
      subject: this.#topology.names.stateOf(queue, key),
      headers: toHeaders({ id: key, type: '', headers: {} }, crypto.randomUUID()),
      body: Buffer.from(JSON.stringify(state)),
    })
    if (answer.kind === 'nobody') await this.#topology.queue(queue)
    return answer.kind === 'stored'
  }

  async forget(queue: string, { key }: Arrival): Promise<void> {
    const { names } = this.#topology
    await this.#topology.ask('forgetting the attempts of a message', ({ manager }) =>
      manager.streams.purge(names.state, { filter: names.stateOf(queue, key) }),
    )
  }
}

function parse(found: Pick<Msg, 'json'>): State | undefined {
  try {
    const { delivered, attempts, postponedSince, dueAt, delayMs, begun, aside } =
      found.json<Partial<State>>()
    if (!Number.isSafeInteger(delivered) || !Number.isSafeInteger(attempts)) return undefined
    return {
      delivered: delivered as number,
      attempts: attempts as number,
      ...(typeof postponedSince === 'number' ? { postponedSince } : {}),
      ...(typeof dueAt === 'number' ? { dueAt } : {}),
      ...(typeof delayMs === 'number' ? { delayMs } : {}),
      ...(begun === true ? { begun } : {}),
      ...(typeof aside?.reason === 'string' ? { aside } : {}),
    }
  } catch {
    return undefined
  }
}
