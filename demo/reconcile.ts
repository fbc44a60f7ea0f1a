/**
 * Counts what is in the files, with plain SQL and nothing of the bus. The queue `audit` is subscribed
 * to the event and read by nobody, so it holds everything that was ever published.
 */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

export interface Reconciliation {
  readonly commands: number
  readonly students: number
  readonly events: number
  readonly financial: number
  /** Students of whom nobody was ever told. */
  readonly lost: number
  /** Events about students who do not exist. */
  readonly phantom: number
  /** Commands that made more than one student, and students with more than one financial registration: the ones too many. */
  readonly duplicateEffects: number
  /** Published and not a dead letter, yet without a financial registration. */
  readonly unfinished: number
  /** Names that are not the same in both databases. */
  readonly garbled: number
  /** Events that were published more than once under the same id: allowed, once per fault. */
  readonly repeatedEvents: number
  /** Messages that were given up, by id: a copy of one dies too. */
  readonly deadLetters: number
  /** Outgoing or incoming messages that still wait. */
  readonly waiting: number
}

const views = `
  CREATE TEMP VIEW events AS
    SELECT id, json_extract(CAST(body AS TEXT), '$.studentId') AS student_id FROM broker.mersal_queue_messages WHERE queue = 'audit';
  CREATE TEMP VIEW dead AS
    SELECT json_extract(CAST(body AS TEXT), '$.studentId') AS student_id FROM broker.mersal_queue_dead_letters
    WHERE json_valid(CAST(body AS TEXT));`

const counts = {
  students: 'SELECT count(*) FROM students',
  events: 'SELECT count(DISTINCT id) FROM events',
  financial: 'SELECT count(*) FROM finance.financial_registrations',
  lost: 'SELECT count(*) FROM (SELECT id FROM students EXCEPT SELECT student_id FROM events)',
  phantom: 'SELECT count(*) FROM (SELECT student_id FROM events EXCEPT SELECT id FROM students)',
  duplicateEffects: `
    SELECT (SELECT count(*) - count(DISTINCT line) FROM students)
      + (SELECT count(*) - count(DISTINCT student_id) FROM finance.financial_registrations)`,
  unfinished: `
    SELECT count(*) FROM (
      SELECT student_id FROM events
      EXCEPT SELECT student_id FROM finance.financial_registrations
      EXCEPT SELECT student_id FROM dead)`,
  garbled: `
    SELECT count(*) FROM students JOIN finance.financial_registrations f ON f.student_id = students.id
    WHERE CAST(f.name AS BLOB) <> CAST(students.name AS BLOB)`,
  repeatedEvents: 'SELECT count(*) - count(DISTINCT id) FROM events',
  deadLetters: 'SELECT count(DISTINCT id) FROM broker.mersal_queue_dead_letters',
} as const

/** Reads the files of one part of the demo. `commands` is how many valid lines the input had. */
export function reconcile(folder: string, commands: number): Reconciliation {
  const database = new DatabaseSync(join(folder, 'registrar.db'), { readOnly: true, timeout: 5000 })
  try {
    for (const name of ['finance', 'broker', 'desk']) database.prepare(`ATTACH ? AS ${name}`).run(join(folder, `${name}.db`))
    database.exec(views)
    const number = (sql: string): number => Number(Object.values(database.prepare(sql).get() ?? {})[0] ?? 0)
    const found = Object.fromEntries(Object.entries(counts).map(([name, sql]) => [name, number(sql)])) as Record<
      keyof typeof counts,
      number
    >
    return { commands, ...found, waiting: waiting(database, number) }
  } finally {
    database.close()
  }
}

/** The naive files have no outbox. */
function waiting(database: DatabaseSync, number: (sql: string) => number): number {
  let total = number("SELECT count(*) FROM broker.mersal_queue_messages WHERE queue <> 'audit'")
  for (const schema of ['main', 'finance', 'desk']) {
    const tables = database.prepare(`SELECT name FROM ${schema}.sqlite_master WHERE name IN ('mersal_outbox', 'mersal_dead_letters')`).all()
    for (const { name } of tables) total += number(`SELECT count(*) FROM ${schema}.${String(name)}`)
  }
  return total
}

/** Which promises of the outbox these numbers break; none if the list is empty. */
export function brokenPromises(numbers: Reconciliation, expectedDeadLetters: number): string[] {
  const must: [boolean, string][] = [
    [numbers.students === numbers.commands, `${numbers.commands} commands made ${numbers.students} students`],
    [numbers.lost === 0, `${numbers.lost} events were lost`],
    [numbers.phantom === 0, `${numbers.phantom} events tell of students who do not exist`],
    [numbers.duplicateEffects === 0, `${numbers.duplicateEffects} effects happened more than once`],
    [numbers.unfinished === 0, `${numbers.unfinished} students have no financial registration`],
    [numbers.garbled === 0, `${numbers.garbled} names changed on the way`],
    [numbers.waiting === 0, `${numbers.waiting} messages did not come to rest`],
    [numbers.deadLetters === expectedDeadLetters, `${numbers.deadLetters} dead letters instead of ${expectedDeadLetters}`],
  ]
  return must.filter(([kept]) => !kept).map(([, text]) => text)
}
