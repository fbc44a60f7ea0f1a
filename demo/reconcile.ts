/** Compares what the databases and the broker hold at the end, read with nothing of the bus. */
import type { BrokerMessage, FinancialRow, StudentRow } from './places/place.ts'

export interface Reconciliation {
  readonly commands: number
  readonly students: number
  readonly events: number
  readonly financial: number
  /** Students of whom nobody was ever told. */
  readonly lost: number
  /** Events about students who do not exist. */
  readonly phantom: number
  /**
   * Commands that made more than one student, and students with more than one financial
   * registration: the ones too many.
   */
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

export interface Findings {
  /** How many valid lines the input had. */
  readonly commands: number
  readonly students: readonly StudentRow[]
  readonly financial: readonly FinancialRow[]
  readonly events: readonly BrokerMessage[]
  readonly deadLetters: readonly BrokerMessage[]
  readonly waiting: number
}

export function reconcile({
  commands,
  students,
  financial,
  events,
  deadLetters,
  waiting,
}: Findings): Reconciliation {
  const names = new Map(students.map(({ id, name }) => [id, name]))
  const told = new Set(events.map(({ studentId }) => studentId))
  const billed = new Set(financial.map(({ studentId }) => studentId))
  const dead = new Set(deadLetters.map(({ studentId }) => studentId))
  const ids = new Set(events.map(({ id }) => id))
  return {
    commands,
    students: students.length,
    events: ids.size,
    financial: financial.length,
    lost: students.filter(({ id }) => !told.has(id)).length,
    phantom: [...told].filter((id) => id === undefined || !names.has(id)).length,
    duplicateEffects:
      students.length -
      new Set(students.map(({ line }) => line)).size +
      financial.length -
      billed.size,
    unfinished: [...told].filter((id) => id !== undefined && !billed.has(id) && !dead.has(id))
      .length,
    garbled: financial.filter(
      ({ studentId, name }) => names.has(studentId) && names.get(studentId) !== name,
    ).length,
    repeatedEvents: events.length - ids.size,
    deadLetters: new Set(deadLetters.map(({ id }) => id)).size,
    waiting,
  }
}

/** Which promises of the outbox these numbers break; none if the list is empty. */
export function brokenPromises(numbers: Reconciliation, expectedDeadLetters: number): string[] {
  const must: [boolean, string][] = [
    [
      numbers.students === numbers.commands,
      `${numbers.commands} commands made ${numbers.students} students`,
    ],
    [numbers.lost === 0, `${numbers.lost} events were lost`],
    [numbers.phantom === 0, `${numbers.phantom} events tell of students who do not exist`],
    [numbers.duplicateEffects === 0, `${numbers.duplicateEffects} effects happened more than once`],
    [numbers.unfinished === 0, `${numbers.unfinished} students have no financial registration`],
    [numbers.garbled === 0, `${numbers.garbled} names changed on the way`],
    [numbers.waiting === 0, `${numbers.waiting} messages did not come to rest`],
    [
      numbers.deadLetters === expectedDeadLetters,
      `${numbers.deadLetters} dead letters instead of ${expectedDeadLetters}`,
    ],
  ]
  return must.filter(([kept]) => !kept).map(([, text]) => text)
}

const labels: readonly [keyof Reconciliation, string][] = [
  ['commands', 'commands'],
  ['students', 'students'],
  ['events', 'events'],
  ['financial', 'financial registrations'],
  ['lost', 'lost events'],
  ['phantom', 'phantom events'],
  ['duplicateEffects', 'duplicate effects'],
  ['unfinished', 'unfinished registrations'],
  ['garbled', 'garbled names'],
  ['repeatedEvents', 'events published again'],
  ['deadLetters', 'dead letters'],
  ['waiting', 'still waiting'],
]

/** A row for each number, a column for each part of the demo. */
export function table(columns: readonly (readonly [string, Reconciliation])[]): string {
  const lines = labels.map(
    ([name, label]) =>
      `  ${label.padEnd(26)}${columns.map(([, numbers]) => String(numbers[name]).padStart(10)).join('')}`,
  )
  return [
    `  ${''.padEnd(26)}${columns.map(([title]) => title.padStart(10)).join('')}`,
    ...lines,
  ].join('\n')
}
