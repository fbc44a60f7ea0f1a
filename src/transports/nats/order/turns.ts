import { errorFields } from '../../../core/errors/error-text.ts'
import { headerNames } from '../../../core/messages/message.ts'
import type { Disposition } from '../../../core/transport.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import type { Slots } from '../../../lib/async/slots.ts'
import { setAside } from '../../shared/aside.ts'
import { deliver, type OnDelivery, postponedField } from '../../shared/deliver.ts'
import { dueHere } from '../../shared/order/due.ts'
import { keyLanes } from '../../shared/order/key-lanes.ts'
import type { NatsLink } from '../connection/client.ts'
import type { Arrival } from '../consume/delivery.ts'
import type { Hold, Settler } from '../consume/settle.ts'
import type { State } from '../consume/state.ts'
import type { NatsSettings } from '../options.ts'
import type { Publisher } from '../publish/publisher.ts'
import { toEnvelope } from '../publish/wire.ts'
import type { Topology } from '../topology/topology.ts'
import type { Item, Over } from './session.ts'

const PAUSE_MS = 250

/** What works on the messages of an ordered queue needs. */
export interface OrderPorts {
  readonly queue: string
  readonly link: NatsLink
  readonly settler: Settler
  readonly topology: Topology
  readonly publisher: Pick<Publisher, 'send'>
  readonly settings: NatsSettings
  readonly onDelivery: OnDelivery
  /** Of all partitions together. */
  readonly slots: Slots
  /** One slot, for those that may end the process, so that they take no others with them. */
  readonly alone: Slots
  /** Aborts when handlers are to give up. */
  readonly forced: AbortSignal
  /** Whether nobody takes this process for dead. */
  readonly isMine: () => boolean
  /** Whether the message has left its stream. */
  readonly isOver: (stream: string, arrival: Arrival) => Promise<boolean>
  /** Makes what is missing again. Never rejects. */
  readonly prepare: () => Promise<void>
  readonly failed: (error: unknown) => void
}

/** A message whose turn has come. */
interface Turn extends Hold {
  /** Somebody may have begun it before, so that it is noted before it is begun. */
  isSuspect: boolean
  /** It was begun and did not end: it may end the process. */
  isCharged: boolean
  /** By the monotonic clock. */
  dueAt: number
}

/**
 * Handles the messages of one partition, those of one key one after the other. A message keeps the
 * turn of its key until it has been handled or is a dead letter. What has not ended when the part
 * is lost stays without an answer, and comes again in order.
 */
export function turns(
  ports: OrderPorts,
  stream: string,
  over: Over,
): (item: Item) => Promise<void> {
  const lanes = keyLanes()
  const partition = new Partition(ports, over)
  return ({ arrival, isSuspect }) => {
    const turn: Turn = {
      queue: ports.queue,
      arrival,
      ...over,
      isOver: () => ports.isOver(stream, arrival),
      state: undefined,
      attempt: 1,
      isSuspect,
      isCharged: false,
      dueAt: 0,
    }
    const { [headerNames.partitionKey]: key } = toEnvelope(arrival.message).headers
    return lanes.run(key, () => partition.take(turn))
  }
}

class Partition {
  readonly #ports: OrderPorts
  readonly #over: Over

  constructor(ports: OrderPorts, over: Over) {
    this.#ports = ports
    this.#over = over
  }

  async take(turn: Turn): Promise<void> {
    const { stopping } = this.#over
    if (turn.isSuspect) await this.#recall(turn)
    while (!stopping.aborted) {
      const waitMs = turn.dueAt - systemClock.monotonic()
      if (waitMs > 0) await systemClock.sleep(waitMs, stopping)
      if (stopping.aborted || turn.dueAt > systemClock.monotonic()) continue
      const disposition = await this.#decide(turn)
      // What a process decides that has stood still is not recorded.
      if (disposition === undefined || !this.#ports.isMine()) return
      if (await this.#settle(turn, disposition)) return
    }
  }

  /** What was noted about it by those who had it before. */
  async #recall(turn: Turn): Promise<void> {
    const { settler, queue } = this.#ports
    await this.#persist(async () => {
      const state = await settler.states.recall(queue, turn.arrival)
      turn.state = state
      turn.attempt = (state?.attempts ?? 0) + 1
      const { dueAt = 0, delayMs = Number.POSITIVE_INFINITY } = state ?? {}
      turn.dueAt = dueHere({ at: dueAt, delayMs }, systemClock)
      turn.isCharged = state?.begun === true
      return true
    })
  }

  async #decide(turn: Turn): Promise<Disposition | undefined> {
    const { state } = turn
    // Given up before: only its dead letter is missing.
    if (state?.aside !== undefined) return setAside(state.aside.reason, state.aside.error)
    if (!turn.isCharged) return this.#inSlot(turn)
    const { alone } = this.#ports
    if (!(await alone.take(this.#over.stopping))) return undefined
    try {
      return await this.#inSlot(turn)
    } finally {
      alone.giveBack()
    }
  }

  async #inSlot(turn: Turn): Promise<Disposition | undefined> {
    const { slots } = this.#ports
    if (!(await slots.take(this.#over.stopping))) return undefined
    try {
      return await this.#begin(turn)
    } finally {
      slots.giveBack()
    }
  }

  /** What only waits for a slot is not noted, or it would be charged when this process ends. */
  async #begin(turn: Turn): Promise<Disposition | undefined> {
    const { onDelivery, forced, queue, isMine } = this.#ports
    const { attempt, state, arrival } = turn
    if (this.#over.stopping.aborted || !isMine()) return undefined
    if (turn.isSuspect && !(await this.#note(turn, { attempts: attempt, begun: true })))
      return undefined
    using linked = linkAbort(this.#over.lost, forced)
    return await deliver(onDelivery, {
      message: toEnvelope(arrival.message),
      queue,
      attempt,
      ...postponedField(state?.postponedSince),
      signal: linked.signal,
    })
  }

  /** False if it is to be handled again. */
  async #settle(turn: Turn, disposition: Disposition): Promise<boolean> {
    const { attempt } = turn
    switch (disposition.kind) {
      case 'ack':
      case 'reject':
        await this.#ports.settler.settle(turn, disposition)
        return true
      case 'release': {
        const begun = turn.isCharged ? { begun: true } : {}
        if (turn.isSuspect) await this.#note(turn, { attempts: attempt - 1, ...begun })
        await systemClock.sleep(PAUSE_MS, this.#over.stopping)
        return false
      }
      case 'retry':
        return this.#retry(turn, disposition)
      default:
        return disposition satisfies never
    }
  }

  async #retry(
    turn: Turn,
    { delayMs, postponedSince }: Extract<Disposition, { kind: 'retry' }>,
  ): Promise<boolean> {
    const isWish = postponedSince !== undefined
    const attempts = isWish ? turn.attempt - 1 : turn.attempt
    turn.dueAt = systemClock.monotonic() + delayMs
    const dueAt = Math.ceil(systemClock.now() + delayMs)
    const wish = isWish ? { postponedSince } : {}
    if (!(await this.#note(turn, { attempts, dueAt, delayMs, ...wish }))) return true
    turn.attempt = attempts + 1
    turn.isSuspect = false
    turn.isCharged = false
    return false
  }

  /** Resolves to false if it is lost before it is written. */
  #note(turn: Turn, news: Pick<State, 'attempts'> & Partial<State>): Promise<boolean> {
    const { settler, queue } = this.#ports
    const { postponedSince } = turn.state ?? {}
    const since = postponedSince === undefined ? {} : { postponedSince }
    const state = { ...since, delivered: turn.arrival.delivered, ...news }
    return this.#persist(async () => {
      if (!(await settler.states.write(queue, turn.arrival, state))) return false
      turn.state = state
      return true
    })
  }

  /** Tries until it succeeds, or nothing more is begun. */
  async #persist(task: () => Promise<boolean>): Promise<boolean> {
    do {
      try {
        if (await task()) return true
      } catch (error) {
        this.#ports.settings.logger.debug(errorFields(error), 'the attempts of a message: later')
      }
      await systemClock.sleep(PAUSE_MS, this.#over.stopping)
    } while (!this.#over.stopping.aborted)
    return false
  }
}
