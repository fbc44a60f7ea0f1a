import { MersalError } from '../core/errors.ts'
import type { EventType, MessageType } from '../core/message.ts'
import { printable } from '../lib/text.ts'
import { checkMessageType } from './messages.ts'
import type { Handler } from './types.ts'

export interface Registration<Tx> {
  readonly type: MessageType
  readonly handler: Handler<unknown, Tx>
}

/** The handlers of one app: at most one per message type. */
export class Handlers<Tx> {
  readonly #byName = new Map<string, Registration<Tx>>()

  add(type: MessageType, handler: Handler<never, Tx>): void {
    checkMessageType('handle()', type)
    if (typeof handler !== 'function') {
      throw new MersalError('MERSAL_INVALID_OPTIONS', `handle('${type.name}'): the handler must be a function, got ${typeof handler}`)
    }
    if (this.#byName.has(type.name)) {
      const remedy = 'call both functions from one handler, or give the second one an app of its own'
      throw new MersalError('MERSAL_DUPLICATE_HANDLER', `'${printable(type.name)}' has a handler already: ${remedy}`)
    }
    this.#byName.set(type.name, { type, handler: handler as Handler<unknown, Tx> })
  }

  get(name: string): Registration<Tx> | undefined {
    return this.#byName.get(name)
  }

  /** The events that have a handler. */
  events(): readonly EventType<unknown>[] {
    return [...this.#byName.values()].map(({ type }) => type).filter((type): type is EventType<unknown> => type.kind === 'event')
  }
}
