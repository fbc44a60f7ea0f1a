import { MersalError } from '../core/errors/errors.ts'
import { checkOptions, invalidOption } from '../core/options.ts'
import type { Given } from '../core/messages/given.ts'
import type { MessageType } from '../core/messages/message.ts'
import type { HandleOptions, HandlerContext } from '../app/types.ts'
import { DEFAULT_APP } from './tokens.ts'

/** Options of `@Handles()`. */
export interface HandlesOptions extends HandleOptions {
  /** The app that handles the message, by the name given to its module. Default 'default'. */
  readonly app?: string
}

/** A method that handles a message. */
export interface HandledMethod {
  readonly type: MessageType
  readonly method: string | symbol
  readonly app: string
  readonly options: HandleOptions
}

/**
 * By prototype and name, so that a decorator that replaces the method, or a class that overrides
 * it, is called.
 */
const handled = new WeakMap<object, HandledMethod[]>()

type Method<Body> = (body: Given<Body>, context: HandlerContext<never>) => unknown

type HandlesDecorator<Body> = <Own extends Method<Body>>(
  prototype: object,
  method: string | symbol,
  descriptor: TypedPropertyDescriptor<Own>,
) => void

/**
 * Makes a method of a provider or controller the handler of a message type. It is called as a
 * handler of `app.handle()` is: with the body and the context. The provider must be a singleton.
 *
 * Throws `MERSAL_INVALID_OPTIONS` for a static method or a property.
 */
export function Handles<Body>(
  type: MessageType<'command' | 'event', Body>,
  given: HandlesOptions = {},
): HandlesDecorator<Body> {
  checkOptions('@Handles()', given, ['app', 'batch', 'retry', 'limit'])
  const { app = DEFAULT_APP, ...options } = given
  if (typeof app !== 'string')
    throw invalidOption('@Handles().app', 'expected the name given to the module of the app')
  return (prototype, method, descriptor) => {
    if (typeof prototype === 'function' || typeof descriptor?.value !== 'function') {
      const text = `@Handles() of '${String(method)}': expected a method of the instance`
      throw new MersalError('MERSAL_INVALID_OPTIONS', text)
    }
    const methods = handled.get(prototype) ?? []
    methods.push({ type, method, app, options })
    handled.set(prototype, methods)
  }
}

/** The handling methods of a class, those of its parents too. */
export function handledBy(prototype: object | null | undefined): readonly HandledMethod[] {
  if (prototype === null || prototype === undefined) return []
  const own = handled.get(prototype) ?? []
  const parents = handledBy(Object.getPrototypeOf(prototype) as object | null)
  const names = new Set(own.map(({ method }) => method))
  return [...own, ...parents.filter(({ method }) => !names.has(method))]
}
