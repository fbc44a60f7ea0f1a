import { MersalError } from '../../core/errors/errors.ts'
import { invalidOption } from '../../core/options.ts'
import type { SagaStore } from '../../core/records/sagas.ts'
import type { Handlers } from '../receive/handlers.ts'
import type { Settings } from '../settings/settings.ts'
import { checkSaga, type SagaType } from './definition.ts'
import { handlerOf, type SagaPorts, timeoutHandlerOf } from './react.ts'
import { collectReactions } from './reactions.ts'
import { timeoutType } from './timeouts.ts'
import type { SagaReactions } from './types.ts'

/** The sagas of one app. Each of their messages has a handler as any other one. */
export class Sagas<Tx> {
  readonly #settings: Settings<Tx>
  readonly #handlers: Handlers<Tx>
  readonly #names = new Set<string>()
  #opened = false

  constructor(settings: Settings<Tx>, handlers: Handlers<Tx>) {
    this.#settings = settings
    this.#handlers = handlers
  }

  /** Throws as `Mersal.saga`. */
  add<State>(type: SagaType<State>, list: (on: SagaReactions<State, Tx>) => void): void {
    checkSaga('saga()', type)
    const call = `saga('${type.name}')`
    const store = this.#store(call)
    if (this.#names.has(type.name))
      throw new MersalError('MERSAL_DUPLICATE_HANDLER', `${call} is registered already`)
    const reactions = collectReactions(call, list)
    const { name: app, logger, clock } = this.#settings
    const ports: SagaPorts<Tx> = { app, store, logger, clock }
    const saga = { type: type as SagaType<unknown>, reactions }
    for (const reaction of reactions.messages)
      this.#handlers.add(reaction.type, handlerOf(ports, saga, reaction), {})
    if (reactions.timeouts.size > 0)
      this.#handlers.add(timeoutType(type.name), timeoutHandlerOf(ports, saga), {})
    this.#names.add(type.name)
  }

  /** Makes the tables, once, if there is any saga. */
  async open(): Promise<void> {
    if (this.#names.size === 0 || this.#opened) return
    await this.#settings.store?.sagas?.open()
    this.#opened = true
  }

  #store(call: string): SagaStore<Tx> {
    const { store, storage } = this.#settings
    if (store?.sagas !== undefined && storage !== undefined) return store.sagas
    const text =
      store === undefined
        ? 'needs a database for its state: give the app a store'
        : `the store '${store.name}' keeps no sagas`
    throw invalidOption(call, text)
  }
}
