import { MersalError } from '../../core/errors/errors.ts'
import type { Envelope, MessageType } from '../../core/messages/message.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'
import { checkChoice, checkOptions, invalidOption } from '../../core/options.ts'
import { isLateAnswer } from '../../lib/async/late-answer.ts'
import { printable } from '../../lib/text.ts'
import { checkMessageType } from '../send/messages.ts'
import type { SagaContext, SagaMissing, SagaReactions } from './types.ts'

type React<Tx> = (state: unknown, body: unknown, context: SagaContext<Tx>) => unknown

/** What a saga does with one type of message. */
export interface Reaction<Tx> {
  readonly type: MessageType
  readonly keyOf: (body: unknown, message: Envelope) => unknown
  readonly react: React<Tx>
  readonly missing: SagaMissing | 'start'
}

/** All that one saga does. */
export interface Reactions<Tx> {
  readonly messages: readonly Reaction<Tx>[]
  /** By the names of timeouts. */
  readonly timeouts: ReadonlyMap<string, React<Tx>>
}

const choices = ['ignore', 'retry', 'dead'] as const

/** Calls the function of the user and collects what it lists. Throws `MERSAL_INVALID_OPTIONS`. */
export function collectReactions<State, Tx>(
  call: string,
  list: (on: SagaReactions<State, Tx>) => void,
): Reactions<Tx> {
  if (typeof list !== 'function')
    throw invalidOption(
      call,
      `expected a function that lists what the saga does, got ${typeof list}`,
    )
  const messages: Reaction<Tx>[] = []
  const timeouts = new Map<string, React<Tx>>()
  const add = (what: string, reaction: Reaction<Tx>): void => {
    checkMessageType(what, reaction.type)
    const field = `${what}('${reaction.type.name}')`
    if (messages.some(({ type }) => type.name === reaction.type.name))
      throw new MersalError('MERSAL_DUPLICATE_HANDLER', `${field}: this message is listed twice`)
    checkFunction(`${field}.key`, reaction.keyOf)
    checkFunction(`${field}.react`, reaction.react)
    messages.push(reaction)
  }
  const on = Object.assign(
    (...[type, keyOf, react, options = {}]: Parameters<SagaReactions<never, Tx>>): void => {
      checkOptions(`${call} on()`, options, ['missing'])
      const missing = checkChoice(`${call} on().missing`, options.missing, choices, 'ignore')
      add(`${call} on`, { type, keyOf, react: react as React<Tx>, missing })
    },
    {
      start: (...[type, keyOf, react]: Parameters<SagaReactions<never, Tx>['start']>): void =>
        add(`${call} on.start`, { type, keyOf, react, missing: 'start' } as Reaction<Tx>),
      timeout: (...[name, react]: Parameters<SagaReactions<never, Tx>['timeout']>): void =>
        addTimeout(`${call} on.timeout`, timeouts, name, react as (...given: never[]) => unknown),
    },
  )
  if (isLateAnswer(list(on as unknown as SagaReactions<State, Tx>)))
    throw invalidOption(call, 'the function that lists what the saga does must not wait')
  if (messages.some(({ missing }) => missing === 'start')) return { messages, timeouts }
  throw invalidOption(call, 'nothing starts it: list at least one message with on.start()')
}

function addTimeout<Tx>(
  call: string,
  timeouts: Map<string, React<Tx>>,
  name: string,
  react: (...given: never[]) => unknown,
): void {
  if (!isName(name)) throw invalidOption(`${call}().name`, `expected ${nameRule}`)
  const field = `${call}('${printable(name)}')`
  if (timeouts.has(name)) throw invalidOption(field, 'this timeout is listed twice')
  checkFunction(field, react)
  const reactToTimeout = react as unknown as (state: unknown, context: SagaContext<Tx>) => unknown
  timeouts.set(name, (state, _, context) => reactToTimeout(state, context))
}

function checkFunction(field: string, given: unknown): void {
  if (typeof given !== 'function')
    throw invalidOption(field, `expected a function, got ${typeof given}`)
}
