/** Watches the client of MariaDB. */
import mysql2 from 'mysql2'
import { isOwnSetting, statementName } from './mysql-moments.ts'
import { at } from './steps.ts'

interface Watched {
  /** Of the relay, not of a unit. */
  own: boolean
  /** Statements of the transaction that is open. */
  done: Set<string>
  /** Statements of the transaction that was committed last. */
  committed: Set<string>
}

const watched = new WeakMap<object, Watched>()

function watchedOf(connection: object): Watched {
  const known = watched.get(connection) ?? { own: false, done: new Set(), committed: new Set() }
  watched.set(connection, known)
  return known
}

type Tell = (error: unknown, ...given: unknown[]) => void
type Send = (this: object, ...given: unknown[]) => unknown
interface Prototype {
  query: Send
  execute: Send
  release: (this: object) => void
}

/** The text and the values of a call, whichever form it has. */
function statementOf([first, second]: readonly unknown[]): {
  readonly text: string
  readonly values: readonly unknown[]
} {
  const { sql = first, values = second } = (
    typeof first === 'object' && first !== null ? first : {}
  ) as { sql?: unknown; values?: unknown }
  return { text: String(sql), values: Array.isArray(values) ? (values as unknown[]) : [] }
}

function momentsOf(name: string, values: readonly unknown[], state: Watched): readonly string[] {
  if (name === 'commit') return [...state.done].map((each) => `commit(${each})`)
  if (name === 'begin') return [state.own ? 'own begin' : 'begin']
  if (name === 'save') return [name, ...[...state.done].map((each) => `save(${each})`)]
  return name === 'settle' && Array.isArray(values[0]) && values[0].length > 1
    ? ['settle', 'settle many']
    : [name]
}

function answered(state: Watched, name: string): void {
  if (name === 'begin') state.committed = new Set()
  else if (name === 'commit') state.committed = state.done
  else if (name !== 'rollback') return
  state.done = new Set()
}

const watching = (send: Send): Send =>
  function (this: object, ...given) {
    const { text, values } = statementOf(given)
    const state = watchedOf(this)
    if (isOwnSetting(text)) state.own = true
    const name = statementName(text)
    const told = given.findIndex((one) => typeof one === 'function')
    if (name === undefined || told < 0) return Reflect.apply(send, this, given)
    if (!['begin', 'commit', 'rollback'].includes(name)) state.done.add(name)
    const moments = momentsOf(name, values, state)
    for (const moment of moments) at(`${moment}:before`)
    const tell = given[told] as Tell
    const later: Tell = (error, ...answer) => {
      if (error === null || error === undefined) {
        answered(state, name)
        for (const moment of moments) at(`${moment}:answered`)
      }
      tell(error, ...answer)
    }
    const result = Reflect.apply(send, this, given.with(told, later))
    for (const moment of moments) at(`${moment}:sent`)
    return result
  }

export function watchDatabase(): void {
  const connection = mysql2.Connection.prototype as unknown as Prototype
  const pooled = (mysql2 as unknown as { PoolConnection: { prototype: Prototype } }).PoolConnection
    .prototype
  const { query, execute } = connection
  const { release } = pooled
  Object.assign(connection, { query: watching(query), execute: watching(execute) })
  pooled.release = function (this: object) {
    for (const each of watchedOf(this).committed) at(`given back(${each})`)
    release.call(this)
  }
}
