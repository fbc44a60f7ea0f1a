import type { Dialect } from './statement-scan.ts'

/** https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/ */
const COMMITS = new Set(
  `alter analyze cache change check drop flush grant install kill load lock optimize purge rename
  repair reset revoke shutdown stop truncate uninstall unlock xa create start backup`.split(/\s+/),
)

const HARMLESS =
  /^\s*(?:select|insert|update|delete|with|values|replace|show|describe|explain|use)\b/i

/**
 * MySQL commits the open transaction before many statements, without a word: whatever changes
 * tables, users or the server.
 */
function endsToo(words: readonly string[], text: string): string | undefined {
  const [first = '', second] = words
  if (first === 'set')
    return /\bautocommit\b|\bpassword\b/i.test(text) ? 'set autocommit' : undefined
  // Tables of the connection alone are none of the dictionary.
  if ((first === 'create' || first === 'drop') && words.includes('temporary')) return undefined
  if (first === 'load' && (second === 'data' || second === 'xml')) return undefined
  return COMMITS.has(first) ? [first, second].filter(Boolean).join(' ') : undefined
}

export const mysqlDialect: Dialect = {
  nestedComments: false,
  dollarQuotes: false,
  nameQuotes: { '`': '`' },
  nameOf: (name) => name.toLowerCase(),
  mysqlComments: true,
  backslashes: true,
  harmless: HARMLESS,
  endsToo,
}

/** What runs nothing but itself: functions and triggers may not end a transaction. */
const PLAIN = /^\s*(?:set|do|load|create|drop|table)\b/i

/** Whether the text may run statements that nobody sees in it, which may end the transaction. */
export function mayHide(text: string): boolean {
  const semicolon = text.indexOf(';')
  if (semicolon >= 0 && text.slice(semicolon + 1).trim() !== '') return true
  return !HARMLESS.test(text) && !PLAIN.test(text)
}
