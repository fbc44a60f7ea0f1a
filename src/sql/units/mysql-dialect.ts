import type { Dialect } from './statement-scan.ts'

/** https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/ */
const COMMITS = new Set(
  `alter analyze cache change check clone drop flush grant import install kill load lock optimize
  purge rename repair reset restart revoke shutdown stop truncate uninstall unlock xa create start
  backup`.split(/\s+/),
)

const HARMLESS =
  /^\s*(?:select|insert|update|delete|with|values|replace|show|describe|explain|use)\b/i

/**
 * MySQL commits the open transaction before many statements, without a word: whatever changes
 * tables, users or the server.
 */
function endsToo(words: readonly string[], text: string): string | undefined {
  const [first = '', second = ''] = words
  if (first === 'set') return second === 'default' ? 'set default' : settingIn(text)
  if (isTemporaryTable(words)) return undefined
  if (first === 'load' && (second === 'data' || second === 'xml')) return undefined
  // Before a statement it runs that and tells how it went.
  if (first === 'analyze' && !TABLES_FOLLOW.has(second)) return undefined
  return COMMITS.has(first) ? [first, second].filter(Boolean).join(' ') : undefined
}

const TABLES_FOLLOW = new Set(['table', 'tables', 'local', 'no_write_to_binlog'])

/** With one `@` before it, it is a variable of the connection alone. */
function settingIn(text: string): string | undefined {
  const [setting] = /(?<!(?<!@)@)\b(?:autocommit|password)\b/i.exec(text) ?? []
  return setting === undefined ? undefined : `set ${setting}`
}

/** Tables of the connection alone are none of the dictionary; sequences like that are. */
function isTemporaryTable([first, ...words]: readonly string[]): boolean {
  if (first !== 'create' && first !== 'drop') return false
  const [temporary, what] = words[0] === 'or' ? words.slice(2) : words
  return temporary === 'temporary' && (what === 'table' || what === 'tables')
}

export const mysqlDialect: Dialect = {
  nestedComments: false,
  dollarQuotes: false,
  nameQuotes: { '`': '`' },
  nameOf: (name) => name.toLowerCase(),
  mysqlComments: 'run',
  backslashes: true,
  forwards: (words) => words[0] === 'set' && words[1] === 'statement' && words.at(-1) === 'for',
  harmless: HARMLESS,
  endsToo,
}

/** What runs nothing but itself: functions and triggers may not end a transaction. */
const PLAIN = /^\s*(?:set\s+(?!statement\b)[\w@`]|(?:do|load|create|drop|table)\b)/i

/** Whether the text may run statements that nobody sees in it, which may end the transaction. */
export function mayHide(text: string): boolean {
  const semicolon = text.indexOf(';')
  if (semicolon >= 0 && text.slice(semicolon + 1).trim() !== '') return true
  return !HARMLESS.test(text) && !PLAIN.test(text)
}
