/** Writes messages by psql alone, each with a business row in the same transaction. */
import { call, seriesCall } from './content.ts'
import { startPsql } from './psql.ts'

const KEYS = 24
/** Messages of one `generate_series`. */
const SERIES = KEYS * 5
/**
 * One transaction in this number is followed by a hint: more of them, and the relays never have
 * their hands full.
 */
const NOTIFY_EVERY = 8

/**
 * `turn` says in which order the transactions of a key were committed, whatever Mersal does: it is
 * drawn from a row of the key that stays locked until the commit.
 */
export const businessTables = (S: string): string => `
drop table ${S}.business;
create table ${S}.business (id uuid primary key, number integer not null, series boolean not null, key text, turn bigint);
create table ${S}.turn (key text primary key, last bigint not null);
insert into ${S}.turn select 'key ' || i, 0 from generate_series(0, ${KEYS - 1}) i;
`

/** Numbers for the messages of one run, never twice. */
export interface Numbers {
  take(count: number): number
}

export function numbers(): Numbers {
  let next = 1
  return {
    take(count) {
      const first = next
      next += count
      return first
    },
  }
}

export interface Written {
  readonly transactions: number
  readonly rolledBack: number
  readonly series: number
}

export interface Work {
  readonly schema: string
  readonly log: string
  readonly numbers: Numbers
  /**
   * Asked before each transaction with the number of messages that this psql has written so far.
   */
  readonly enough: (messages: number) => boolean
  /** Awaited before each transaction. */
  readonly pace?: () => Promise<unknown>
  /**
   * Notify the relays after the commits, as docs/sql-contract.md advises those who do not want to
   * wait for their poll.
   */
  readonly notifies: boolean
}

/** One to five messages of one key, or without one, each by a statement of its own. */
function single(
  { schema: S, log }: Work,
  first: number,
  count: number,
  key: string | undefined,
): string {
  const turn = (index: number): string =>
    key === undefined
      ? 'null'
      : `(select last - ${count - 1 - index} from ${S}.turn where key = '${key}')`
  const inserts = Array.from({ length: count }, (_, index) => {
    const number = first + index
    const given = key === undefined ? 'null' : `'${key}'`
    return `insert into ${S}.business select ${call(S, log, number, key)}, ${number}, false, ${given}, ${turn(index)};`
  })
  const draw =
    key === undefined ? '' : `update ${S}.turn set last = last + ${count} where key = '${key}';\n`
  return draw + inserts.join('\n')
}

/** Many messages by one statement, of all keys in turn or without any. */
function series({ schema: S, log }: Work, first: number, keyed: boolean): string {
  const range = `generate_series(${first}, ${first + SERIES - 1}) i`
  if (!keyed)
    return `insert into ${S}.business select ${seriesCall(S, log, undefined)}, i, true, null, null from ${range};`
  const key = `'key ' || (i - ${first}) % ${KEYS}`
  const each = SERIES / KEYS
  const turn = `(select t.last from ${S}.turn t where t.key = ${key}) - ${each - 1} + (i - ${first}) / ${KEYS}`
  // The lock, so that two of these do not wait for each other over the rows of the keys.
  return `lock table ${S}.turn in exclusive mode;
update ${S}.turn set last = last + ${each};
insert into ${S}.business select ${seriesCall(S, log, key)}, i, true, ${key}, ${turn} from ${range};`
}

/** Runs one psql until it is enough. */
export async function write(work: Work): Promise<Written> {
  await using psql = startPsql()
  const count = { transactions: 0, rolledBack: 0, series: 0 }
  for (let messages = 0; !work.enough(messages); ) {
    await work.pace?.()
    const unit = count.transactions++
    const many = unit % 40 === 20
    const size = many ? SERIES : 1 + (unit % 5)
    const first = work.numbers.take(size)
    const undone = unit % 13 === 12
    const body = many
      ? series(work, first, unit % 80 === 20)
      : single(work, first, size, unit % 6 === 5 ? undefined : `key ${(unit * 7) % KEYS}`)
    await psql.write(
      `begin;\n${body}\n${undone ? 'rollback' : 'commit'};\n${work.notifies && unit % NOTIFY_EVERY === 0 ? `notify ${work.schema}_outbox;\n` : ''}`,
    )
    if (many) count.series += 1
    if (undone) count.rolledBack += 1
    else messages += size
  }
  await psql.end()
  return count
}
