/** What is particular about the texts of a database. */
export interface Dialect {
  /** Comments of the kind of C may contain each other. */
  readonly nestedComments: boolean
  /** `$tag$ ... $tag$` is text. */
  readonly dollarQuotes: boolean
  /**
   * Besides the double quote: the marks that open a quoted name, each with the one that closes it.
   */
  readonly nameQuotes: Readonly<Record<string, string>>
  /** One text for all ways to write the same name. */
  readonly nameOf: (name: string) => string
  /**
   * As MySQL has them: `#` begins one, and `--` only with a space. Whether that of `/*!` is run
   * depends on the version in it and on the server.
   */
  readonly mysqlComments?: 'run' | 'skip'
  /** A backslash in a string or between double quotes takes the next character along. */
  readonly backslashes?: boolean
  /** Whether another statement begins behind these first words, outside of parentheses. */
  readonly forwards?: (words: readonly string[]) => boolean
  /** One statement that certainly leaves its transaction alone. Default: see `HARMLESS`. */
  readonly harmless?: RegExp
  /**
   * What ends a transaction besides the words of all databases, by the first words and the text.
   */
  readonly endsToo?: (words: readonly string[], text: string) => string | undefined
}

export const postgresDialect: Dialect = {
  nestedComments: true,
  dollarQuotes: true,
  nameQuotes: {},
  nameOf: (name) => name.slice(0, 63),
}
export const sqliteDialect: Dialect = {
  nestedComments: false,
  dollarQuotes: false,
  nameQuotes: { '`': '`', '[': ']', "'": "'" },
  nameOf: (name) => name.toLowerCase(),
}

/** Words of a statement that are enough to tell what it does to its transaction. */
const WORDS = 6
const BYTE_ORDER_MARK = '\ufeff'
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y

/**
 * The first words of every statement of a text: names in lower case, quoted ones as they are.
 * Comments are passed over, and so are semicolons inside of parentheses, strings, triggers and
 * function bodies.
 */
export function firstWords(text: string, dialect: Dialect): string[][] {
  const statements: string[][] = []
  let statement: Statement = newStatement()
  let depth = 0
  for (let at = 0; at < text.length; ) {
    const char = text[at] as string
    const past = passed(text, at, dialect)
    if (past > at) {
      at = past
      continue
    }
    const word = wordAt(text, at, dialect)
    if (word !== undefined) {
      at = word.end
      if (dialect.forwards?.([...statement.words.slice(0, 2), word.text]) === true && depth <= 0)
        statement = newStatement()
      else add(statement, word.text)
      continue
    }
    if (char === '(') depth++
    if (char === ')') depth--
    if (char === ';' && depth <= 0 && !continues(statement)) {
      if (statement.words.length > 0) statements.push(statement.words)
      statement = newStatement()
    } else if (char === ';') statement.sinceSemicolon = []
    at++
  }
  if (statement.words.length > 0) statements.push(statement.words)
  return statements
}

interface Statement {
  readonly words: string[]
  /** It has a body of statements, which ends with `END`. */
  body: boolean
  sinceSemicolon: string[]
  last: string
}

const newStatement = (): Statement => ({ words: [], body: false, sinceSemicolon: [], last: '' })

function add(statement: Statement, word: string): void {
  const { words, sinceSemicolon, last } = statement
  if (words.length < WORDS) words.push(word)
  if (sinceSemicolon.length < 2) sinceSemicolon.push(word)
  if (words[0] === 'create') {
    const trigger = words.includes('trigger') && !words.includes('constraint') && word === 'begin'
    if (trigger || (last === 'begin' && word === 'atomic')) statement.body = true
  }
  statement.last = word
}

/** Whether the statement goes on after a semicolon. */
function continues({ body, sinceSemicolon }: Statement): boolean {
  return body && !(sinceSemicolon.length === 1 && sinceSemicolon[0] === 'end')
}

/**
 * The place behind the comment, string or space that begins here; the same place if there is none.
 */
function passed(
  text: string,
  at: number,
  { nestedComments, dollarQuotes, nameQuotes, mysqlComments, backslashes = false }: Dialect,
): number {
  const char = text[at] as string
  if (char === BYTE_ORDER_MARK) return at + 1
  const past = mysqlComments === undefined ? undefined : mysqlComment(text, at, mysqlComments)
  if (past !== undefined) return past
  if (char === '-' && text[at + 1] === '-') return endOf(text, '\n', at)
  if (char === '/' && text[at + 1] === '*')
    return nestedComments ? nestedEnd(text, at) : endOf(text, '*/', at + 2)
  if (char === "'" && nameQuotes["'"] === undefined) return quoteEnd(text, at + 1, "'", backslashes)
  if (dollarQuotes && (char === 'e' || char === 'E') && text[at + 1] === "'")
    return quoteEnd(text, at + 2, "'", true)
  if (!dollarQuotes || char !== '$') return at
  TAG.lastIndex = at
  const [tag] = TAG.exec(text) ?? []
  return tag === undefined ? at : endOf(text, tag, at + tag.length)
}

/** The same place for what is no comment here but elsewhere; undefined: the rules of all hold. */
function mysqlComment(text: string, at: number, kind: 'run' | 'skip'): number | undefined {
  if (text[at] === '#') return endOf(text, '\n', at)
  if (text.startsWith('--', at)) return /\s/.test(text[at + 2] ?? ' ') ? undefined : at
  if (kind === 'skip') return undefined
  const [run] = /^(?:\/\*M?!\d*|\*\/)/.exec(text.slice(at, at + 12)) ?? []
  // What is between these marks is run.
  return run === undefined ? undefined : at + run.length
}

function endOf(text: string, what: string, from: number): number {
  const found = text.indexOf(what, from)
  return found < 0 ? text.length : found + what.length
}

function nestedEnd(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const pair = text.slice(at, at + 2)
    if (pair === '/*') depth++
    if (pair === '*/' && --depth === 0) return at + 2
    if (pair === '/*' || pair === '*/') at++
  }
  return text.length
}

function quoteEnd(text: string, from: number, mark: string, backslashes: boolean): number {
  for (let at = from; at < text.length; at++) {
    if (backslashes && text[at] === '\\') at++
    else if (text[at] === mark) {
      if (text[at + 1] !== mark) return at + 1
      at++
    }
  }
  return text.length
}

function wordAt(
  text: string,
  at: number,
  { nameQuotes, backslashes = false }: Dialect,
): { readonly text: string; readonly end: number } | undefined {
  const char = text[at] as string
  const close = char === '"' ? '"' : nameQuotes[char]
  if (close !== undefined) {
    const end = quoteEnd(text, at + 1, close, backslashes && close === '"')
    return { text: `"${text.slice(at + 1, end - 1).replaceAll(close + close, close)}`, end }
  }
  WORD.lastIndex = at
  const [word] = WORD.exec(text) ?? []
  return word === undefined ? undefined : { text: word.toLowerCase(), end: at + word.length }
}
