import { MersalError } from '../../core/errors/errors.ts'
import { type Dialect, firstWords } from './statement-scan.ts'

/** What a statement does to the transaction in which it runs. */
export type Control =
  | { readonly kind: 'ends'; readonly words: string }
  | { readonly kind: 'savepoint' | 'release' | 'rollback to'; readonly name: string }

export interface Controls {
  /** In the order of the text. */
  readonly all: readonly Control[]
  /** The text has other statements besides, or several of these. */
  readonly mixed: boolean
}

/** One statement that certainly leaves its transaction alone. */
const HARMLESS =
  /^\s*(?:select|insert|update|delete|with|values|merge|create|alter|drop|lock|set|notify|call|do|pragma)\b/i

/**
 * Undefined if the text leaves the transaction alone, which a look at its first word tells for
 * nearly every text.
 */
export function controlsOf(text: string, dialect: Dialect): Controls | undefined {
  const semicolon = text.indexOf(';')
  const single = semicolon < 0 || text.slice(semicolon + 1).trim() === ''
  if (single && (dialect.harmless ?? HARMLESS).test(text)) return undefined
  const statements = firstWords(text, dialect)
  const all = [...controlsIn(statements, text, dialect), ...endingsIfSkipped(text, dialect)]
  return all.length === 0 ? undefined : { all, mixed: statements.length > 1 }
}

function controlsIn(
  statements: readonly (readonly string[])[],
  text: string,
  dialect: Dialect,
): Control[] {
  return statements.flatMap((words) => controlOf(words, dialect) ?? endsToo(words, text, dialect))
}

/** Where a comment may be run or not, by the version of the server, either must be harmless. */
function endingsIfSkipped(text: string, dialect: Dialect): Control[] {
  if (dialect.mysqlComments !== 'run' || !/\/\*M?!/.test(text)) return []
  const skipping: Dialect = { ...dialect, mysqlComments: 'skip' }
  const all = controlsIn(firstWords(text, skipping), text, skipping)
  return all.filter(({ kind }) => kind === 'ends')
}

function endsToo(words: readonly string[], text: string, dialect: Dialect): Control[] {
  const ending = dialect.endsToo?.(words, text)
  return ending === undefined ? [] : [{ kind: 'ends', words: ending }]
}

function controlOf(words: readonly string[], dialect: Dialect): Control | undefined {
  const [first, second] = words
  switch (first) {
    case 'begin':
    case 'commit':
    case 'end':
    case 'abort':
      return { kind: 'ends', words: first }
    case 'start':
    case 'prepare':
      return second === 'transaction' ? { kind: 'ends', words: `${first} transaction` } : undefined
    case 'rollback': {
      const to = words.indexOf('to')
      if (to !== 1 && to !== 2) return { kind: 'ends', words: first }
      return { kind: 'rollback to', name: nameAfter(words, to, dialect) }
    }
    case 'savepoint':
      return { kind: 'savepoint', name: nameOf(second, dialect) }
    case 'release':
      return { kind: 'release', name: nameAfter(words, 0, dialect) }
    case undefined:
    default:
      return undefined
  }
}

/** The word `SAVEPOINT` may be left out. */
function nameAfter(words: readonly string[], place: number, dialect: Dialect): string {
  const word = words[place + 1]
  return nameOf(word === 'savepoint' ? (words[place + 2] ?? word) : word, dialect)
}

function nameOf(word: string | undefined, dialect: Dialect): string {
  return dialect.nameOf(word?.startsWith('"') === true ? word.slice(1) : (word ?? ''))
}

/** The statement that must not run in a unit of ours, if there is one. */
export function endingOf(text: string, dialect: Dialect): string | undefined {
  const ending = controlsOf(text, dialect)?.all.find((control) => control.kind === 'ends')
  return ending?.kind === 'ends' ? ending.words : undefined
}

/** Before anything was sent: the transaction is as it was. */
export function transactionIsOurs(what: string): MersalError {
  const text = `${what}: this transaction belongs to a unit of Mersal, which commits it when its function ends and rolls it back when that throws`
  return new MersalError(
    'MERSAL_TRANSACTION_IS_OURS',
    `${text}. Leave its end to the unit; for a part that may fail use savepoint()`,
  )
}

/**
 * The transaction of a unit is over before the unit is: committed, rolled back, or another one in
 * its place.
 */
export function transactionEnded(library: string, cause?: unknown): MersalError {
  const text = `${library}: the transaction was ended inside its unit, which alone may do that: what the unit had sent was not stored`
  return new MersalError('MERSAL_TRANSACTION_ENDED', text, cause === undefined ? {} : { cause })
}

/** What is asked of a handle whose unit is over. */
export function handleRevoked(library: string): MersalError {
  const text = `${library}: the unit of this transaction has ended, so that its handle does nothing any more: await every statement inside`
  return new MersalError('MERSAL_UNIT_ENDED', text)
}

/** A savepoint of the library was not awaited, and its library would commit no more than that. */
export function savepointOpen(library: string): MersalError {
  const text = `${library}: a transaction inside of the unit is still open at its end, so that all of it was rolled back: await it`
  return new MersalError('MERSAL_ROLLED_BACK', text)
}
