import type { Finding } from '../../../core/operations.ts'
import { errorText } from '../../../core/errors/error-text.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { textOf } from '../../../sql/mysql/bytes.ts'
import { onlyRow, type Own } from '../../../sql/mysql/own.ts'
import { readServer, type ServerFacts, unfitness, worries } from '../../../sql/mysql/server.ts'
import { KEY_SLOTS } from '../../../sql/mysql/key-slots.ts'
import type { Place } from '../place.ts'
import { probe } from './probe.ts'

const CLOCK_MS = 2000
/** A message that brokers take should fit. */
const ROOMY_BYTES = 16 * 1024 * 1024

/** Whether this server and this user fit. Throws when the server cannot be reached. */
export async function examine(place: Place, own: Own): Promise<readonly Finding[]> {
  await own.run('reaching the server', 'select 1 as one')
  const asked = systemClock.now()
  const facts = await readServer(own)
  const answered = systemClock.now()
  const there = await tables(place, own)
  return [
    version(facts),
    role(facts),
    durability(facts),
    packet(facts),
    clock(facts.now, asked, answered),
    ...there.map(({ finding }) => finding),
    ...(there.every(({ whole }) => whole) ? [await writes(place, own)] : []),
  ]
}

function version(facts: ServerFacts): Finding {
  const subject = 'mysql version'
  const unfit = unfitness(facts)
  if (unfit?.message.includes('too old') === true) {
    const remedy = 'upgrade the server'
    return { level: 'fault', subject, text: unfit.message, remedy }
  }
  const text = `${facts.server.kind} ${facts.version}`
  if (facts.server.kind === 'MariaDB') return { level: 'ok', subject, text }
  const remedy = 'try it with your work before you rely on it'
  return { level: 'warning', subject, text: `${text}, with which Mersal is not tested`, remedy }
}

function role({ readOnly }: ServerFacts): Finding {
  const subject = 'mysql server'
  if (!readOnly) return { level: 'ok', subject, text: 'takes writes' }
  const remedy = 'connect to the primary'
  return { level: 'fault', subject, text: 'is read-only, as a replica is', remedy }
}

function durability(facts: ServerFacts): Finding {
  const subject = 'mysql durability'
  const unfit = unfitness(facts)
  if (unfit !== undefined && !unfit.message.includes('too old'))
    return { level: 'fault', subject, text: unfit.message, remedy: 'change it in the options' }
  const [worry] = worries(facts)
  if (worry !== undefined)
    return { level: 'warning', subject, text: worry, remedy: 'see docs/mysql.md' }
  return { level: 'ok', subject, text: 'a commit is on the disk when it is answered' }
}

function packet({ packetBytes }: ServerFacts): Finding {
  const subject = 'mysql packets'
  const text = `max_allowed_packet is ${packetBytes} bytes, which bounds a message`
  if (packetBytes >= ROOMY_BYTES) return { level: 'ok', subject, text }
  return { level: 'warning', subject, text, remedy: 'raise it, if messages are larger' }
}

function clock(server: number, asked: number, answered: number): Finding {
  const subject = 'clocks'
  const apart = server < asked ? asked - server : Math.max(0, server - answered)
  if (apart <= CLOCK_MS) return { level: 'ok', subject, text: 'this machine and the server agree' }
  const text = `this machine and the server are ${Math.round(apart / 1000)} s apart; claims go by the server, times in headers by the sender`
  return { level: 'warning', subject, text, remedy: 'synchronise both with NTP' }
}

interface TablesFound {
  readonly finding: Finding
  readonly whole: boolean
}

/** Tables of another engine commit by themselves, and nobody could tell. */
async function tables({ database, tables: T }: Place, own: Own): Promise<TablesFound[]> {
  const subject = 'mysql tables'
  const { rows } = await own.run<{ name: unknown; engine: unknown }>(
    'examining the tables',
    `select table_name as name, engine from information_schema.tables where table_schema = ? and table_name like 'mersal\\_%' order by 1`,
    [database],
  )
  if (rows.length === 0) {
    const text = `there are none in database '${database}' yet`
    const remedy = "run 'mersal migrate'"
    return [{ whole: false, finding: { level: 'warning', subject, text, remedy } }]
  }
  const others = rows.filter(({ engine }) => textOf(engine).toLowerCase() !== 'innodb')
  if (others.length > 0) {
    const text = `${others.map(({ name }) => textOf(name)).join(', ')}: not of the engine InnoDB, which alone has transactions`
    const remedy = 'alter each of them: engine = InnoDB'
    return [{ whole: false, finding: { level: 'fault', subject, text, remedy } }]
  }
  const found = await own.run<{ count: string }>(
    'examining the locks of keys',
    `select cast(count(*) as char) as count from ${T.keyLock}`,
  )
  const slots = Number(onlyRow(found).count)
  if (slots !== KEY_SLOTS) {
    const text = `mersal_key_lock has ${slots} rows, not ${KEY_SLOTS}: keys keep no order`
    return [{ whole: false, finding: { level: 'fault', subject, text, remedy: 'restore it' } }]
  }
  const text = `${rows.length} in database '${database}'`
  return [{ whole: true, finding: { level: 'ok', subject, text } }]
}

async function writes(place: Place, own: Own): Promise<Finding> {
  const subject = 'mysql privileges'
  try {
    await probe(place, own)
    return { level: 'ok', subject, text: 'the user may write' }
  } catch (error) {
    const text = errorText(error)
    const remedy = 'grant select, insert, update, delete on the tables of mersal to this user'
    return { level: 'fault', subject, text, remedy }
  }
}
