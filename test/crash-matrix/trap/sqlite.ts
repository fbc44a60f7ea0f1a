/**
 * Watches `node:sqlite`, for the store and for the queue. A statement is a call: nothing is ever
 * sent and not answered.
 */
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { ownMark } from './postgres-moments.ts'
import { at } from './steps.ts'

const kinds: readonly (readonly [name: string, text: RegExp])[] = [
  ['begin', /^begin immediate$/i],
  ['commit', /^commit$/i],
  ['rollback', /^rollback$/i],
  ['cancel', /^delete from mersal_outbox where id = :id and due_at/i],
  ['saga load', /^select id, version, state, timeouts from mersal_sagas/i],
  ['saga store', /^insert into mersal_sagas /i],
  ['saga end', /^delete from mersal_sagas /i],
  ['once claim', /^insert into mersal_once /i],
  ['once keep', /^update mersal_once set response/i],
  ['track', /^insert into mersal_inbox /i],
  ['save', /^insert into mersal_outbox \(visible_at/i],
  ['settle', /^delete from mersal_outbox where position = :position/i],
  ['queue put', /^insert into mersal_queue_messages /i],
  ['queue ack', /^delete from mersal_queue_messages where position = :position/i],
]

function statementName(text: string): string | undefined {
  const trimmed = text.trim()
  return kinds.find(([, pattern]) => pattern.test(trimmed))?.[0] ?? ownMark(trimmed)
}

/** Statements of the transaction that is open, by database. */
const done = new WeakMap<object, Set<string>>()

function momentsOf(database: object, name: string): readonly string[] {
  const before = [...(done.get(database) ?? [])]
  if (name === 'commit' || name === 'save')
    return [name, ...before.map((each) => `${name}(${each})`)]
  return [name]
}

function run<Result>(database: object, text: string, statement: () => Result): Result {
  const name = statementName(text)
  if (name === undefined) return statement()
  const moments = momentsOf(database, name)
  for (const moment of moments) at(`${moment}:before`)
  const result = statement()
  if (['begin', 'commit', 'rollback'].includes(name)) done.delete(database)
  else done.set(database, (done.get(database) ?? new Set<string>()).add(name))
  for (const moment of moments) at(`${moment}:answered`)
  return result
}

type Call = (this: object, ...given: unknown[]) => unknown

export function watchDatabase(): void {
  const database = DatabaseSync.prototype as unknown as { exec: Call; prepare: Call }
  const { exec, prepare } = database
  const prepared = new WeakMap<object, { readonly database: object; readonly text: string }>()
  database.exec = function (text) {
    return run(this, String(text), () => exec.call(this, text))
  }
  database.prepare = function (text, ...more) {
    const statement = prepare.call(this, text, ...more) as object
    prepared.set(statement, { database: this, text: String(text) })
    return statement
  }
  const statement = StatementSync.prototype as unknown as Record<'run' | 'all' | 'get', Call>
  for (const name of ['run', 'all', 'get'] as const) {
    const call = statement[name]
    statement[name] = function (...given) {
      const known = prepared.get(this)
      if (known === undefined) return call.apply(this, given)
      return run(known.database, known.text, () => call.apply(this, given))
    }
  }
}
