import { MersalError } from '../../../core/errors/errors.ts'
import type { Finding } from '../../../core/operations.ts'
import { sqlState } from '../../../sql/postgres/failure.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import { createPublication, facts, publicationOf } from './log-statements.ts'

/** What the server says of itself and of this role. */
export interface LogFacts {
  readonly database: string
  readonly role: string
  readonly standby: boolean
  readonly wal_level: string
  readonly synchronous_standbys: string
  readonly slots: string
  readonly senders: string
  readonly keep_size: string
  readonly may_replicate: boolean
  readonly published: boolean
}

/** What keeps the log from being read, or may hurt. */
type Check = (given: LogFacts, schema: string) => Omit<Finding, 'subject'>

const ok = (text: string): Omit<Finding, 'subject'> => ({ level: 'ok', text })
const fault = (text: string, remedy: string): Omit<Finding, 'subject'> => ({
  level: 'fault',
  text,
  remedy,
})

const level: Check = ({ wal_level }) =>
  wal_level === 'logical'
    ? ok('wal_level is logical')
    : fault(
        `wal_level is ${wal_level}, so that the server cannot tell what is committed`,
        'set wal_level = logical and restart the server; or leave out commitLog, and relays claim',
      )

const standbys: Check = ({ synchronous_standbys }) =>
  synchronous_standbys === ''
    ? ok('no synchronous standby')
    : fault(
        'there are synchronous standbys: the log tells of a commit before they have it, and a failover could undo what was published',
        'leave out commitLog on this server: a claim waits for the standbys',
      )

const right: Check = ({ may_replicate, role }) =>
  may_replicate
    ? ok(`the role ${role} may read the log`)
    : fault(
        `the role ${role} may not read the log`,
        `alter role "${role}" replication (on Amazon RDS: grant rds_replication to "${role}")`,
      )

const room: Check = ({ slots, senders }) =>
  Number(slots) > 0 && Number(senders) > 0
    ? ok(`max_replication_slots is ${slots}, max_wal_senders ${senders}`)
    : fault(
        `max_replication_slots is ${slots} and max_wal_senders ${senders}`,
        'give both at least one more than others use, and restart the server',
      )

const published: Check = ({ published }, schema) =>
  published
    ? ok(`the publication ${publicationOf(schema)} is there`)
    : {
        level: 'warning',
        text: `there is no publication ${publicationOf(schema)}; the relay makes it if its role owns the table and may create in the database`,
        remedy: `as the owner of the table: ${createPublication(schema)}`,
      }

const kept: Check = ({ keep_size }) =>
  keep_size === '-1'
    ? {
        level: 'warning',
        text: 'max_slot_wal_keep_size is -1: a relay that reads too slowly keeps more and more of the log on disk',
        remedy: 'set max_slot_wal_keep_size, such as 1GB; nothing is lost when it is reached',
      }
    : ok(`max_slot_wal_keep_size is ${keep_size}`)

const checks: readonly Check[] = [level, standbys, right, room, published, kept]

export async function readFacts(own: Own, schema: string): Promise<LogFacts> {
  const values = [schema, publicationOf(schema)]
  const { rows } = await own.run<LogFacts>('asking about the log', facts, values)
  return rows[0] as LogFacts
}

export function findings(given: LogFacts, schema: string): readonly Finding[] {
  return checks.map((check) => ({ subject: 'postgres commit log', ...check(given, schema) }))
}

/** Rejects with `MERSAL_STORE_UNSAFE` unless the log can be read. Makes the publication. */
export async function meetRequirements(own: Own, schema: string): Promise<LogFacts> {
  const given = await readFacts(own, schema)
  const problem = findings(given, schema).find((one) => one.level === 'fault')
  if (problem !== undefined) throw unsafe(problem)
  if (!given.published) await publish(own, schema)
  return given
}

async function publish(own: Own, schema: string): Promise<void> {
  try {
    await own.run('making the publication', createPublication(schema), [])
  } catch (error) {
    // Another relay was faster.
    if ((await readFacts(own, schema)).published) return
    const cause = (error as { readonly cause?: unknown }).cause
    if (sqlState(cause) !== '42501') throw error
    throw unsafe(
      {
        text: `the role of the relay may not make the publication ${publicationOf(schema)}`,
        remedy: `as the owner of the table: ${createPublication(schema)}`,
      },
      error,
    )
  }
}

function unsafe(
  { text, remedy = '' }: Pick<Finding, 'text' | 'remedy'>,
  cause?: unknown,
): MersalError {
  return new MersalError('MERSAL_STORE_UNSAFE', `commitLog: ${text}. Remedy: ${remedy}`, {
    cause,
    details: { field: 'commitLog' },
  })
}
