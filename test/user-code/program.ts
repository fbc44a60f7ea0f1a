/** Random programs as users write them: right, careless and wrong, inside one transaction. */

/** What a program does with a row and a message of the same name, which must share one fate. */
export type Step =
  /**
   * A row and its message. `forgets`: the promise of the message is not awaited. `slow`: its schema
   * waits, so that the message is known only some turns later, or when the connection has long gone
   * to somebody else.
   */
  | {
      readonly kind: 'pair'
      readonly tag: string
      readonly key: string | undefined
      readonly via: Via
      readonly forgets: boolean
      readonly slow: Slow
    }
  /** A row without a message. */
  | { readonly kind: 'row'; readonly tag: string }
  /** A row, and a message that its schema refuses; the error is caught. */
  | { readonly kind: 'spoiled'; readonly tag: string; readonly via: Via }
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
  /** A row, and its message while a savepoint of the bus that fails is open beside it. */
  | { readonly kind: 'beside'; readonly tag: string }
  /**
   * A statement that the database refuses, whose error is caught. `undone`: with which the database
   * rolls back all of the transaction.
   */
  | { readonly kind: 'swallow'; readonly undone: boolean }
  /** The program throws. */
  | { readonly kind: 'throw' }
  /** `app.transaction` with the sender of the outer one. */
  | { readonly kind: 'join'; readonly steps: readonly Step[] }
  /**
   * `app.transaction` of another request, which runs in the context of this one and is none of its
   * business. It may have to wait until this one has ended.
   */
  | { readonly kind: 'separate'; readonly tag: string; readonly fails: boolean }
  /**
   * Ends the transaction behind the back of the bus. `caught`: goes on after a refusal. `unseen`:
   * in a way that nobody can refuse.
   */
  | {
      readonly kind: 'end'
      readonly text: string
      readonly caught: boolean
      readonly unseen: boolean
    }
  /** The handler goes on after its time is up, and then writes and sends. */
  | { readonly kind: 'outlive'; readonly tag: string }
  /**
   * The transaction is given up by its signal; the program goes on, and then writes and sends.
   * `at`: when all is over, or while the database is told so.
   */
  | { readonly kind: 'abort'; readonly tag: string; readonly at: 'once' | 'later' }
  /** A row that nobody awaits, on its way when the work ends. */
  | { readonly kind: 'hasty'; readonly tag: string }
  /** A statement that is sent between the end of the work and the COMMIT. */
  | { readonly kind: 'slip'; readonly what: Slip; readonly tag: string }
  /** Kept for after the end. `neighbour`: while another transaction of the app is open. */
  | {
      readonly kind: 'late'
      readonly what: Late
      readonly tag: string
      readonly neighbour: boolean
    }

/** It fails, or writes a row. */
export type Slip = 'fail' | 'write'

export type Slow = 'no' | 'turns' | 'long'

export type Late = 'row' | 'message' | 'within' | 'join' | 'savepoint' | 'after commit'

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
  /**
   * A transaction inside of a handle waits until the one before it on the same handle has ended: a
   * joined part, which is given the outer handle, would wait for the savepoint that it runs in.
   */
  readonly nestsInTurn?: boolean
  /** Its transactions can be ended in a way that nobody can refuse. */
  readonly unseen?: boolean
  /** Has errors with which the database rolls back all of the transaction. */
  readonly undone?: boolean
  /**
   * The library can tell statements of the work from its own until the COMMIT: which of them are
   * tried there. One that fails harms nobody where it does not fail the transaction.
   */
  readonly slips?: readonly Slip[]
}

const ENDS = ['commit', 'rollback', 'COMMIT;', '/* so */ end', 'rollback; begin'] as const

const LATE = ['row', 'message', 'within', 'join', 'savepoint', 'after commit'] as const

export function randomProgram(
  name: string,
  random: () => number,
  { ends, savepoints, depth: deepest = 3, unseen, undone, slips, nestsInTurn }: Abilities,
): Program {
  let tags = 0
  let rare = true
  const chance = (share: number): boolean => random() < share
  const pick = <Item>(...items: readonly Item[]): Item =>
    items[Math.floor(random() * items.length)] as Item
  const road = pick<Road>('transaction', 'transaction', 'handler', 'within')
  const ours = road !== 'within'
  /** What guards the messages does not see such a program. */
  const silent = chance(0.12)
  const tag = (): string => `${name}.${++tags}`
  /** At most one of these in a program, so that what follows from it stays clear. */
  const once = (share: number): boolean => rare && chance(share) && !(rare = false)

  function pair(): Step[] {
    if (silent) return [{ kind: 'row', tag: tag() }]
    const via = ours ? pick<Via>('sender', 'ambient', 'within') : 'within'
    const forgets = once(ours ? 0.06 : 0.2)
    const slow = !chance(forgets ? 0.7 : 0.15) ? 'no' : forgets && chance(0.6) ? 'long' : 'turns'
    const key = chance(0.5) ? `key-${pick(1, 2, 3)}` : undefined
    const made: Step = { kind: 'pair', tag: tag(), key, via, forgets, slow }
    // Nobody waits for the message, and the transaction is over at once.
    return forgets && chance(0.5) ? [made, { kind: 'throw' }] : [made]
  }

  /** What is wrong, or looks so. */
  function careless(): Step | undefined {
    if (once(0.04)) return { kind: 'throw' }
    if (once(0.05)) return { kind: 'swallow', undone: ours && undone === true && chance(0.5) }
    if (chance(0.04) && !silent) return { kind: 'separate', tag: tag(), fails: chance(0.3) }
    if (!ours) return undefined
    if (ends && once(0.05))
      return {
        kind: 'end',
        text: pick(...ENDS),
        caught: chance(0.5),
        unseen: unseen === true && chance(0.5),
      }
    if (once(0.05)) return { kind: 'late', what: pick(...LATE), tag: tag(), neighbour: chance(0.3) }
    if (road === 'handler' && once(0.02)) return { kind: 'outlive', tag: tag() }
    if (road === 'transaction' && once(0.04))
      return { kind: 'abort', tag: tag(), at: pick('once', 'later') }
    if (silent) return undefined
    if (once(0.03)) return { kind: 'spoiled', tag: tag(), via: pick<Via>('sender', 'ambient') }
    return once(0.03) ? { kind: 'beside', tag: tag() } : undefined
  }

  function step(depth: number, inside: 'ours' | 'library' | 'joined'): Step[] {
    const wrong = careless()
    if (wrong !== undefined) return [wrong]
    if (depth < deepest && (savepoints || ours) && chance(0.3)) {
      const own = savepoints && inside !== 'joined'
      const of = !ours ? 'library' : own ? pick('library', 'bus') : 'bus'
      const next = of === 'library' ? of : inside
      return [{ kind: 'savepoint', of, steps: several(depth + 1, next), fails: chance(0.5) }]
    }
    if (depth < deepest && road === 'transaction' && chance(0.1))
      return [
        {
          kind: 'join',
          steps: several(
            depth + 1,
            nestsInTurn === true && inside === 'library' ? 'joined' : inside,
          ),
        },
      ]
    if (chance(0.1) && !silent) return [{ kind: 'together', tags: [tag(), tag()] }]
    return pair()
  }

  const several = (depth: number, inside: 'ours' | 'library' | 'joined'): Step[] =>
    Array.from({ length: 1 + Math.floor(random() * 4) }, () => step(depth, inside)).flat()
  const steps = several(0, 'ours')
  // While messages are being saved the transaction goes on: what is written then shares its fate.
  const possible = slips?.filter((what) => silent || what === 'fail') ?? []
  if (ours && possible.length > 0 && once(silent ? 0.5 : 0.03)) {
    const slip: Step = { kind: 'slip', what: pick(...possible), tag: tag() }
    // Its first statement, and so the BEGIN, may be on its way still when the work ends.
    if (silent && chance(0.3)) return { name, road, steps: [{ kind: 'hasty', tag: tag() }, slip] }
    steps.push(slip)
  }
  return { name, road, steps }
}
