import type { Finding } from '../../../core/operations.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import { sharesConnections } from '../../../sql/postgres/pool/pooler.ts'
import { examineTables } from './examine-tables.ts'
import { examineWaits } from './examine-waits.ts'
import type { OperatorStatements } from '../statements/operator-statements.ts'

export interface ExaminePorts {
  readonly own: Own
  readonly schema: string
  readonly keepSentMs: number
}

interface ServerRow {
  readonly version: string
  readonly version_name: string
  readonly standby: boolean
  readonly synchronous_commit: string
  readonly fsync: string
  readonly full_page_writes: string
  readonly now: string
  readonly max_connections: string
  readonly connections: string
}

interface PrivilegeRow {
  readonly name: string
  /** With spaces between them. */
  readonly missing: string
  readonly owned: boolean
  readonly role: string
}

const OLDEST_VERSION = 150_000
const CLOCK_MS = 2000

/**
 * Whether this server, this role and the way to it fit. Throws when the server cannot be reached.
 */
export async function examine(
  { own, schema, keepSentMs }: ExaminePorts,
  sql: OperatorStatements,
): Promise<readonly Finding[]> {
  // The first answer includes making the connection; the second one measures the way.
  await own.run('reaching the server', 'select 1', [])
  const asked = systemClock.now()
  const [server] = (await own.run<ServerRow>('examining the server', sql.server, [])).rows
  const answered = systemClock.now()
  const privileges = (await own.run<PrivilegeRow>('examining privileges', sql.privileges, [schema]))
    .rows
  if (server === undefined) return []
  return [
    version(server),
    role(server),
    durability(server),
    clock(Number(server.now), asked, answered),
    connections(server),
    ...(privileges.length === 0 ? [] : rights(privileges, keepSentMs)),
    ...(await examineTables(own, schema)),
    ...(privileges.length === 0 ? [] : await examineWaits(own, schema)),
    await pooler(own),
  ]
}

function version({ version, version_name }: ServerRow): Finding {
  const subject = 'postgres version'
  if (Number(version) >= OLDEST_VERSION) return { level: 'ok', subject, text: version_name }
  return {
    level: 'fault',
    subject,
    text: `${version_name} is older than 15`,
    remedy: 'upgrade the server to PostgreSQL 15 or newer',
  }
}

function role({ standby }: ServerRow): Finding {
  const subject = 'postgres server'
  if (!standby) return { level: 'ok', subject, text: 'takes writes' }
  return {
    level: 'fault',
    subject,
    text: 'is a standby, which takes no writes',
    remedy:
      'connect to the primary; with several hosts in the address add target_session_attrs=read-write',
  }
}

function durability({ fsync, full_page_writes, synchronous_commit }: ServerRow): Finding {
  const subject = 'postgres durability'
  const off = Object.entries({ fsync, full_page_writes }).flatMap(([name, value]) =>
    value === 'off' ? name : [],
  )
  if (off.length > 0) {
    return {
      level: 'fault',
      subject,
      text: `${off.join(' and ')} is off: a crash of the machine can lose or damage what was committed`,
      remedy: 'turn it on in postgresql.conf',
    }
  }
  const settled = synchronous_commit === 'on' || synchronous_commit === 'remote_apply'
  if (settled) return { level: 'ok', subject, text: `synchronous_commit is ${synchronous_commit}` }
  return {
    level: 'warning',
    subject,
    text: `synchronous_commit is ${synchronous_commit}: nothing is published that could be lost, but no message takes the express lane`,
    remedy: 'leave it on for the roles of the apps',
  }
}

function clock(server: number, asked: number, answered: number): Finding {
  const subject = 'clocks'
  const apart = server < asked ? asked - server : Math.max(0, server - answered)
  if (apart <= CLOCK_MS) return { level: 'ok', subject, text: 'this machine and the server agree' }
  return {
    level: 'warning',
    subject,
    text: `this machine and the server are ${Math.round(apart / 1000)} s apart; claims go by the server, times in headers by the sender`,
    remedy: 'synchronise both with NTP',
  }
}

function connections(server: ServerRow): Finding {
  const subject = 'postgres connections'
  const text = `${server.connections} of ${server.max_connections} are used; an app or a relay takes up to 4 besides its pool`
  if (Number(server.connections) < Number(server.max_connections) * 0.9)
    return { level: 'ok', subject, text }
  return {
    level: 'warning',
    subject,
    text,
    remedy: 'raise max_connections, make pools smaller, or put a pooler in between',
  }
}

function rights(rows: readonly PrivilegeRow[], keepSentMs: number): readonly Finding[] {
  const subject = 'postgres privileges'
  const findings = rows
    .map(({ missing, ...row }) => ({
      ...row,
      missing: missing.split(' ').filter((one) => one !== ''),
    }))
    // Of the list of steps, reading is enough.
    .map(({ name, missing, role }) => ({
      name,
      role,
      missing: name === 'migration' ? missing.filter((one) => one === 'select') : missing,
    }))
    .filter(({ missing }) => missing.length > 0)
    .map(({ name, missing, role }): Finding => {
      return {
        level: 'fault',
        subject,
        text: `the role ${role} lacks ${missing.join(', ')} on ${name}`,
        remedy: `grant ${missing.join(', ')} on table ${name} of the schema to ${role}`,
      }
    })
  const sent = rows.find(({ name }) => name === 'sent')
  if (keepSentMs > 0 && sent?.owned === false) {
    findings.push({
      level: 'fault',
      subject,
      text: `with keepSentMs the role of the relay makes and drops partitions, and ${sent.role} does not own 'sent'`,
      remedy: 'run the relay as the owner of the schema, or grant it the role of the owner',
    })
  }
  return findings.length === 0
    ? [
        {
          level: 'ok',
          subject,
          text: `${rows[0]?.role ?? 'the role'} may do everything that is needed`,
        },
      ]
    : findings
}

const ANSWER_MS = 10_000

async function pooler(own: Own): Promise<Finding> {
  const subject = 'pooler'
  if (own.direct || !(await sharesConnections(own, ANSWER_MS)))
    return { level: 'ok', subject, text: 'none that lends connections per transaction' }
  return {
    level: 'warning',
    subject,
    text: 'one lends connections per transaction: no notifications arrive, relays find messages by polling',
    remedy: 'give relayPool of postgres() a direct connection',
  }
}
