/**
 * Gives the statements of Mersal names, by what they do: the moments of a crash are told by them.
 */

const kinds: readonly (readonly [name: string, text: RegExp])[] = [
  ['slot', /^CREATE_REPLICATION_SLOT /],
  ['cancel', /delete from \S+\.outbox o using ours\s/],
  ['saga load', /^select id::text as id, version::text as version[\s\S]* for update$/],
  ['saga store', /^insert into \S+\.saga \(/],
  ['saga end', /^delete from \S+\.saga where/],
  ['once claim', /hashtext\('mersal\.once\./],
  ['once keep', /update \S+\.once set response =/],
  ['own begin', /^begin isolation level read committed;/],
  ['begin', /^begin/],
  ['commit', /^commit$/],
  ['rollback', /^rollback$/],
  ['claim', /\bc as materialized[\s\S]*\.outbox o[\s\S]*for update of o skip locked/],
  ['take', /\bc as materialized[\s\S]*\.queue_message m[\s\S]*for update of m skip locked/],
  ['dead', /insert into \S+\.dead \(/],
  ['block', /set visible_at = 'infinity'/],
  ['dead retry', /\.(?:queue_)?dead_retry\(/],
  ['dead discard', /^delete from \S+\.(?:queue_)?dead where/],
  ['settle', /delete from \S+\.outbox(?: o)?\s+(?:using|where)[\s\S]*token = /],
  ['release', /update \S+\.outbox o[\s\S]*attempts = greatest\(o\.attempts - 1, 0\)/],
  ['retry', /update \S+\.outbox o[\s\S]*error = u\.error/],
  [
    'save',
    /insert into \S+\.outbox \(|\.outbox_save\(|\.queue_put\(|insert into \S+\.queue_message[\s\S]*queue_key_free\(/,
  ],
  ['track', /^insert into \S+\.inbox /],
  ['prune inbox', /delete from \S+\.inbox i/],
  ['prune', /delete from \S+\.sent s/],
  ['notify', /pg_notify\(/],
  ['listen', /^listen /],
  ['renew', /update \S+\.queue_message m set visible_at = clock_timestamp\(\) \+ \$4/],
  [
    'queue ack',
    /^with gone as \(delete from \S+\.queue_message m using unnest\(\$2::bigint\[\], \$3::uuid\[\]\)/,
  ],
  ['queue reject', /insert into \S+\.queue_dead /],
  ['queue retry', /update \S+\.queue_message m set visible_at = clock_timestamp\(\) \+ u\.delay/],
  ['migrate', /create table \S+\.(?:outbox|queue) \(/],
]

/** Of the test itself: it says its name. */
export const ownMark = (text: string): string | undefined => /\/\* ([a-z]+) \*\//.exec(text)?.[1]

/** Undefined: of no interest. */
export function statementName(text: string): string | undefined {
  const trimmed = text.trim()
  return kinds.find(([, pattern]) => pattern.test(trimmed))?.[0] ?? ownMark(trimmed)
}
