/** Random programs as users write them: right, careless and wrong, inside one transaction. */

/** What a program does with a row and a message of the same name, which must share one fate. */
export type Step =
  /** A row and its message. `forgets`: the promise of the message is not awaited. */
  | {
      readonly kind: 'pair'
      readonly tag: string
      readonly key: string | undefined
      readonly via: Via
      readonly forgets: boolean
    }
  /** Rows and messages whose promises are awaited together. */
  | { readonly kind: 'together'; readonly tags: readonly string[] }
  /**
   * A savepoint of the library, or of the bus. `fails`: its work throws at the end, and the error
   * is caught outside.
   */
  | {
      readonly kind: 'savepoint'
      readonly of: 'library' | 'bus'
      readonly steps: readonly Step[]
      readonly fails: boolean
    }
  /** A statement that the database refuses, whose error is caught. */
  | { readonly kind: 'swallow' }
  /** The program throws. */
  | { readonly kind: 'throw' }
  /** `app.transaction` with the sender of the outer one. */
  | { readonly kind: 'join'; readonly steps: readonly Step[] }
  /** Ends the transaction behind the back of the bus. `caught`: goes on after a refusal. */
  | { readonly kind: 'end'; readonly text: string; readonly caught: boolean }
  /** The handler goes on after its time is up, and then writes and sends. */
  | { readonly kind: 'outlive'; readonly tag: string }
  /** Kept for after the end: a row or a message. */
  | { readonly kind: 'late'; readonly what: 'row' | 'message'; readonly tag: string }

/** `sender`: of the callback. `ambient`: of the app. `within`: with the handle at hand. */
export type Via = 'sender' | 'ambient' | 'within'

/**
 * Who opens the transaction: `app.transaction`, a handler, or the library itself, with
 * `app.within(tx)`.
 */
export type Road = 'transaction' | 'handler' | 'within'

export interface Program {
  readonly name: string
  readonly road: Road
  readonly steps: readonly Step[]
}

/** What the library can do besides. */
export interface Abilities {
  /** Runs any text as a statement. */
  readonly ends: boolean
  /** Has savepoints of its own. */
  readonly savepoints: boolean
  /** How deep its savepoints may be nested. Default 3. */
  readonly depth?: number
}

/** The same numbers for the same seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const ENDS = ['commit', 'rollback', 'COMMIT;', '/* so */ end', 'rollback; begin'] as const

export function randomProgram(
  name: string,
  random: () => number,
  { ends, savepoints, depth: deepest = 3 }: Abilities,
): Program {
  let tags = 0
  let rare = true
  const chance = (share: number): boolean => random() < share
  const pick = <Item>(...items: readonly Item[]): Item =>
    items[Math.floor(random() * items.length)] as Item
  const road = pick<Road>('transaction', 'transaction', 'handler', 'within')
  const tag = (): string => `${name}.${++tags}`
  /** At most one of these in a program, so that what follows from it stays clear. */
  const once = (share: number): boolean => rare && chance(share) && !(rare = false)

  function pair(): Step {
    const via = road === 'within' ? 'within' : pick<Via>('sender', 'ambient', 'within')
    return {
      kind: 'pair',
      tag: tag(),
      key: chance(0.5) ? `key-${pick(1, 2, 3)}` : undefined,
      via,
      forgets: once(0.06),
    }
  }

  function step(depth: number): Step {
    if (once(0.04)) return { kind: 'throw' }
    if (once(0.05)) return { kind: 'swallow' }
    if (ends && road !== 'within' && once(0.05))
      return { kind: 'end', text: pick(...ENDS), caught: chance(0.5) }
    if (road !== 'within' && once(0.05))
      return { kind: 'late', what: pick('row', 'message'), tag: tag() }
    if (road === 'handler' && once(0.02)) return { kind: 'outlive', tag: tag() }
    if (depth < deepest && (savepoints || road !== 'within') && chance(0.3)) {
      const of = road === 'within' ? 'library' : savepoints ? pick('library', 'bus') : 'bus'
      return { kind: 'savepoint', of, steps: several(depth + 1), fails: chance(0.5) }
    }
    if (depth < deepest && road === 'transaction' && chance(0.1))
      return { kind: 'join', steps: several(depth + 1) }
    if (chance(0.1)) return { kind: 'together', tags: [tag(), tag()] }
    return pair()
  }

  const several = (depth: number): Step[] =>
    Array.from({ length: 1 + Math.floor(random() * 4) }, () => step(depth))
  return { name, road, steps: several(0) }
}
