import type { PublishOutcome } from '../../../core/transport.ts'
import type { Message, Options } from 'amqplib'
import type { Answer } from './outcomes.ts'

/** The content itself is not kept: what was written belongs to the socket. */
export interface Pending {
  readonly id: string
  readonly exchange: string
  readonly routingKey: string
  /** Written before, with the same id, and unanswered. */
  earlier: Pending | undefined
  readonly bytes: number
  readonly writtenAt: number
  /** How far the channel had been written with it. */
  readonly end: number
  readonly copy: number
  readonly settle: (answer: Answer) => void
  returned: PublishOutcome | undefined
}

/**
 * Tells apart two copies of one message that are on the way at the same time; only then is it set.
 */
export const COPY_HEADER = 'x-mersal-copy'

type Place = Pick<Pending, 'exchange' | 'routingKey'>

/**
 * What is unanswered, by message id: RabbitMQ names a message that it returns by its properties and
 * its place.
 */
export class Copies {
  /** The last one written of each id. */
  readonly #lastOf = new Map<string, Pending>()

  /** The number of the next copy to this place, and the one written before with this id. */
  next(id: string, place: Place): Pick<Pending, 'copy' | 'earlier'> {
    const earlier = this.#lastOf.get(id)
    const same = findBack(earlier, (pending) => isTo(pending, place))
    return { copy: (same?.copy ?? -1) + 1, earlier }
  }

  add(pending: Pending): void {
    this.#lastOf.set(pending.id, pending)
  }

  remove(pending: Pending): void {
    const last = this.#lastOf.get(pending.id)
    if (last !== pending) unlink(last, pending)
    else if (pending.earlier === undefined) this.#lastOf.delete(pending.id)
    else this.#lastOf.set(pending.id, pending.earlier)
  }

  returned({ fields, properties }: Message): Pending | undefined {
    const copy = Number(properties.headers?.[COPY_HEADER] ?? 0)
    return findBack(
      this.#lastOf.get(idOf(properties)),
      (pending) => isTo(pending, fields) && pending.copy === copy,
    )
  }
}

/** The properties of this copy. */
export function marked(properties: Options.Publish, copy: number): Options.Publish {
  return copy === 0
    ? properties
    : { ...properties, headers: { ...(properties.headers as object), [COPY_HEADER]: copy } }
}

function isTo(pending: Place, { exchange, routingKey }: Place): boolean {
  return pending.exchange === exchange && pending.routingKey === routingKey
}

/** The last one, from this one back, of which that is true. */
function findBack(
  last: Pending | undefined,
  isIt: (pending: Pending) => boolean,
): Pending | undefined {
  for (let pending = last; pending !== undefined; pending = pending.earlier)
    if (isIt(pending)) return pending
  return undefined
}

function unlink(last: Pending | undefined, gone: Pending): void {
  const later = findBack(last, ({ earlier }) => earlier === gone)
  if (later !== undefined) later.earlier = gone.earlier
}

export const idOf = ({ messageId }: { readonly messageId?: unknown }): string =>
  typeof messageId === 'string' ? messageId : ''
