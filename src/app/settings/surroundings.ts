import type { SharedCapacity } from '../../outbox/limits/capacity.ts'

/** What an app shares with others of its process, beside its options. */
export interface Surroundings {
  /** The window of the relays. */
  readonly capacity: Pick<SharedCapacity, 'join'>
}

/** By the options of the app, so that no user meets it there. */
const surroundings = new WeakMap<object, Surroundings>()

export function withSurroundings<Options extends object>(
  options: Options,
  shared: Surroundings,
): Options {
  surroundings.set(options, shared)
  return options
}

export function surroundingsOf(options: object): Surroundings | undefined {
  return surroundings.get(options)
}
