/**
 * Gives the statements of Mersal on MySQL names, by what they do: those of the moments on
 * PostgreSQL, wherever they do the same.
 */
import { ownMark } from './postgres-moments.ts'

const kinds: readonly (readonly [name: string, text: RegExp])[] = [
  ['begin', /^start transaction$/i],
  ['commit', /^commit(?: and no chain no release)?$/i],
  ['rollback', /^rollback(?: and no chain no release)?$/i],
  ['due', /\.`mersal_outbox` o force index \(primary\) where [\s\S]*for update skip locked$/],
  [
    'claim',
    /^update \S+`mersal_outbox` o [\s\S]*least\(greatest\(o\.attempts, 0\), 1000000\) \+ 1/,
  ],
  ['dead', /^insert into \S+`mersal_dead` \(/],
  ['block', /^update \S+`mersal_outbox` o [\s\S]*o\.died_at = utc_timestamp\(6\)/],
  ['dead retry', /^insert into \S+`mersal_outbox` \([\s\S]* from \S+`mersal_dead` d/],
  ['dead discard', /^delete from \S+`mersal_dead` where/],
  ['settle', /^delete o from \S+`mersal_outbox` o force index \(primary\) where o\.position in /],
  ['release', /^update \S+`mersal_outbox` o [\s\S]*greatest\(o\.attempts - 1, 0\)/],
  ['retry', /^update \S+`mersal_outbox` o [\s\S]*o\.token = null, o\.error = \?/],
  ['save', /^insert into \S+`mersal_outbox` \(id, /],
  ['track', /^insert into \S+`mersal_inbox` /],
  ['prune inbox', /^delete from \S+`mersal_inbox` where handled_at/],
  ['prune', /^delete from \S+`mersal_sent` where sent_at/],
  ['cancel', /^delete o from \S+`mersal_outbox` o force index \(primary\) where o\.position = \?/],
  ['saga load', /^select id, cast\(version as char\)[\s\S]* for update$/],
  ['saga store', /^insert into \S+`mersal_saga` \(app, saga, saga_key, id, /],
  ['saga end', /^delete from \S+`mersal_saga` where/],
  ['once claim', /insert into \S+`mersal_once` \(/],
  ['once keep', /^update \S+`mersal_once` set response =/],
  ['migrate', /^create table if not exists \S+`mersal_outbox`/],
  ['migrate record', /^insert ignore into \S+`mersal_migration`/],
]

/** Undefined: of no interest. */
export function statementName(text: string): string | undefined {
  const trimmed = text.trim()
  return kinds.find(([, pattern]) => pattern.test(trimmed))?.[0] ?? ownMark(trimmed)
}

/** What only connections of the relay and of operators begin with. */
export const isOwnSetting = (text: string): boolean =>
  text.startsWith('set session transaction isolation level')
