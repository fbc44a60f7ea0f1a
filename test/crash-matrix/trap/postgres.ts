/** Watches the clients of the database. */
import pg from 'pg'
import { isLogToken } from '../../../src/core/commit-log.ts'
import { executedOn } from '../../postgres/flights.ts'
import { isStream, watchPositions, watchStream } from './log.ts'
import { statementName } from './postgres-moments.ts'
import { at } from './steps.ts'

interface Watched {
  /** Statements of the transaction that is open. */
  done: Set<string>
  /** Statements of the transaction that was committed last. */
  committed: Set<string>
  /** The open transaction settles messages that the log has told of. */
  logged: boolean
}

const watched = new WeakMap<object, Watched>()

function watchedOf(client: object): Watched {
  const known = watched.get(client) ?? { done: new Set(), committed: new Set(), logged: false }
  watched.set(client, known)
  return known
}

function momentsOf(name: string, values: readonly unknown[], state: Watched): readonly string[] {
  if (name === 'commit') return [...state.done].map((each) => `commit(${each})`)
  return name === 'settle' && Array.isArray(values[0]) && values[0].length > 1
    ? ['settle', 'settle many']
    : [name]
}

function answered(client: object, name: string): void {
  const state = watchedOf(client)
  if (name === 'begin' || name === 'own begin') state.committed = new Set()
  else if (name === 'commit') state.committed = state.done
  else return
  state.done = new Set()
  state.logged = false
}

/** Whether one of the values of a settlement is a token of a row that was written for the log. */
const tellsOfLog = (values: readonly unknown[] = []): boolean =>
  values.flat().some((value) => typeof value === 'string' && isLogToken(value))

interface Stream {
  cork(): void
  uncork(): void
  write(bytes: Buffer, ...more: unknown[]): boolean
}

interface Wire {
  readonly stream: Stream
  once(event: 'commandComplete', listener: (message: { readonly text: string }) => void): unknown
}

interface Flight {
  readonly text?: string
  readonly values?: readonly unknown[]
  callback?: (error: unknown, ...given: unknown[]) => void
  submit(connection: Wire): unknown
  handleCommandComplete(message: { readonly text: string }, ...given: unknown[]): void
}

const isFlight = (first: unknown): first is Flight =>
  typeof first === 'object' && first !== null && 'submit' in first

/** By connection: what was prepared is known by its name. */
const readers = new WeakMap<object, ReturnType<typeof executedOn>>()

function readerOf(client: object): ReturnType<typeof executedOn> {
  const known = readers.get(client) ?? executedOn()
  readers.set(client, known)
  return known
}

/**
 * A query in whose flight BEGIN, messages or COMMIT may travel: the moments of these, which no call
 * of `query` tells, but the bytes.
 */
function watchFlight(flight: Flight, client: object): void {
  const state = watchedOf(client)
  const read = readerOf(client)
  const own = ownName(flight)
  const logged = tellsOfLog(flight.values)
  const { callback } = flight
  const submit = flight.submit.bind(flight)
  const complete = flight.handleCommandComplete.bind(flight)
  let moments: readonly string[] = []
  let saves = false
  const onWrite = (name: string | undefined, connection: Wire): void => {
    if (name === 'begin') {
      Object.assign(state, { committed: new Set(), done: new Set(own === undefined ? [] : [own]) })
      at('begin:before')
      // BEGIN comes first in its flight, so the first answer is its own.
      connection.once('commandComplete', ({ text }) => text === 'BEGIN' && at('begin:answered'))
    }
    if (name === 'save') {
      saves = true
      state.done.add(name)
      at('save:before')
    }
    if (name === 'commit') moments = momentsOf(name, [], state)
    for (const moment of name === 'commit' ? moments : []) at(`${moment}:before`, logged)
  }
  flight.submit = (connection) => {
    const { stream } = connection
    const watched = {
      writable: true,
      cork: () => stream.cork(),
      uncork: () => stream.uncork(),
      write: (bytes: Buffer, ...more: unknown[]): boolean => {
        for (const text of read(bytes))
          if (text !== undefined) onWrite(statementName(text), connection)
        return stream.write(bytes, ...more)
      },
    }
    const result = submit(
      Object.assign(Object.create(connection) as typeof connection, { stream: watched }),
    )
    for (const moment of moments) at(`${moment}:sent`, logged)
    return result
  }
  flight.handleCommandComplete = (message, ...given) => {
    if (moments.length > 0 && saves && message.text.startsWith('INSERT')) {
      at('save in flight:answered')
      for (const each of moments) at(`${each.replace('commit', 'save in flight')}:answered`)
    }
    complete(message, ...given)
  }
  flight.callback = (error, ...given) => {
    if (moments.length > 0 && !error) {
      Object.assign(state, { committed: state.done, done: new Set() })
      for (const moment of moments) at(`${moment}:answered`, logged)
    } else if (own !== undefined && !error) at(`${own}:answered`, logged)
    callback?.(error, ...given)
  }
}

/** Of the statement of the user. A flight without one is called after the end of what it carries. */
function ownName({ text }: Flight): string | undefined {
  const name = text === undefined ? undefined : statementName(text)
  return name === 'begin' || name === 'commit' ? undefined : name
}

type Query = (this: object, ...given: readonly unknown[]) => unknown
const client = pg.Client.prototype as unknown as { query: Query; emit: Query }
const { query, emit } = client

// What `pg` derives from this class must have no method of its own, or Mersal does not know it.
const pool = Object.getPrototypeOf(pg.Pool.prototype) as { emit: Query }
const emitOfPool = pool.emit

export function watchDatabase(): void {
  watchPositions(pg)
  client.query = watch
  client.emit = heard
  pool.emit = released
}

function watch(this: object, ...given: readonly unknown[]): unknown {
  const [first] = given
  if (isStream(first)) watchStream(first)
  else if (isFlight(first)) {
    watchFlight(first, this)
    if (ownName(first) === undefined) return query.apply(this, [...given])
  }
  const config = (typeof first === 'string' ? { text: first } : first) as {
    text?: unknown
    values?: readonly unknown[]
  }
  const name = typeof config.text === 'string' ? statementName(config.text) : undefined
  if (name === undefined) return query.apply(this, [...given])
  const state = watchedOf(this)
  // An empty claim is none: nothing would be at stake. Only its answer tells.
  if (!['begin', 'own begin', 'commit', 'rollback', 'claim', 'take'].includes(name))
    state.done.add(name)
  const values = config.values ?? (given[1] as readonly unknown[] | undefined) ?? []
  const moments = momentsOf(name, values, state)
  state.logged ||= tellsOfLog(values)
  const { logged } = state
  const tell = (when: string): void => {
    for (const moment of moments) at(`${moment}:${when}`, logged)
  }
  tell('before')
  const answer = query.apply(this, [...given])
  tell('sent')
  if (!(answer instanceof Promise)) return answer
  const heardOf = (result: { rows?: readonly { readonly position?: unknown }[] }): unknown => {
    answered(this, name)
    const takes = name === 'claim' || name === 'take'
    // Beside what it takes, a claim says where its stretch ends, in a row without a position.
    if (takes && result.rows?.every(({ position }) => position === null)) return result
    if (takes) state.done.add(name)
    tell('answered')
    return result
  }
  return answer.then(heardOf, (error: unknown) => {
    tell('refused')
    throw error
  })
}

function heard(this: object, ...given: readonly unknown[]): unknown {
  if (given[0] === 'notification') at('notification')
  return emit.apply(this, [...given])
}

function released(this: object, ...given: readonly unknown[]): unknown {
  if (given[0] === 'release')
    for (const each of watchedOf(given[2] as object).committed) at(`given back(${each})`)
  return emitOfPool.apply(this, [...given])
}
