import type { MersalError } from '../../../core/errors/errors.ts'
import type { PostgresClient, PostgresPoolClient } from '../client.ts'
import { type JoiningClient, joins } from './flight.ts'
import { SavepointLog, type Settle } from '../../units/savepoint-log.ts'
import { postgresDialect } from '../../units/statement-scan.ts'
import {
  type Controls,
  controlsOf,
  handleRevoked,
  transactionIsOurs,
} from '../../units/transaction-words.ts'
import { refuse } from './opening.ts'

/** What a unit lends to its work in place of the client itself. */
export interface UnitHandle {
  readonly tx: PostgresClient
  readonly log: SavepointLog
  /**
   * The server has ended the transaction, or has begun another one, although none of our statements
   * said so.
   */
  readonly ended: () => boolean
  /** From now on `tx` does nothing, and what the server says is no longer watched. */
  revoke(): void
}

const handles = new WeakMap<object, UnitHandle>()

/** The handle that a unit has lent; undefined for the client of somebody else. */
export function unitHandleOf(tx: unknown): UnitHandle | undefined {
  return typeof tx === 'object' && tx !== null ? handles.get(tx) : undefined
}

/**
 * A client that can be taken back, and which refuses to end its transaction. Everything else
 * passes.
 */
export function unitHandle(client: PostgresPoolClient): UnitHandle {
  const log = new SavepointLog()
  const tags = joins(client) ? watchTags(client) : undefined
  let revoked = false
  const query = (...given: unknown[]): unknown => {
    if (revoked) return refuse(given, client as never, handleRevoked('postgres'))
    return guarded(client as unknown as JoiningClient, given, {
      log,
      rollsBack: () => tags?.rollsBack(),
    })
  }
  const refusing = (what: string) => (): never => {
    throw transactionIsOurs(`postgres: ${what}`)
  }
  const own: Record<PropertyKey, unknown> = {
    query,
    release: refusing('release() of the client'),
    end: refusing('end() of the client'),
    getTransactionStatus: () => (revoked ? 'I' : client.getTransactionStatus()),
  }
  const tx = new Proxy(client, {
    get(target, name) {
      if (Object.hasOwn(own, name)) return own[name]
      const value: unknown = Reflect.get(target, name, target)
      // The methods of a client keep its state, which must stay in one place.
      if (typeof value !== 'function' || name === 'constructor') return value
      return (own[name] = value.bind(target) as unknown)
    },
    // What is put on the handle goes with it; the client is lent to others afterwards.
    set: (_target, name, value) => {
      own[name] = value
      return true
    },
  })
  const handle: UnitHandle = {
    tx,
    log,
    ended: () => tags?.ended() ?? false,
    revoke() {
      revoked = true
      tags?.[Symbol.dispose]()
    },
  }
  handles.set(tx, handle)
  return handle
}

interface Statements {
  readonly log: SavepointLog
  readonly rollsBack: () => void
}

function guarded(client: JoiningClient, given: unknown[], { log, rollsBack }: Statements): unknown {
  const controls = controlsOfQuery(client, given[0])
  if (controls === undefined) return client.query(...given)
  const refusal = refusalOf(controls, given[0])
  if (refusal !== undefined) return refuse(given, client, refusal)
  for (const control of controls.all) if (control.kind === 'rollback to') rollsBack()
  return observed(client, given, log.issue(controls))
}

function controlsOfQuery(client: JoiningClient, config: unknown): Controls | undefined {
  const text = typeof config === 'string' ? config : textOf(client, config)
  return typeof text === 'string' ? controlsOf(text, postgresDialect) : undefined
}

/** Of a query object, a cursor, a stream, or a name under which a statement was prepared before. */
function textOf(client: JoiningClient, config: unknown): unknown {
  if (typeof config !== 'object' || config === null) return undefined
  const { text, name, cursor } = config as {
    text?: unknown
    name?: unknown
    cursor?: { text?: unknown }
  }
  if (text !== undefined && text !== null) return text
  const { parsedStatements } = client.connection as {
    parsedStatements?: Readonly<Record<string, unknown>>
  }
  return typeof name === 'string' ? parsedStatements?.[name] : cursor?.text
}

function refusalOf({ all }: Controls, config: unknown): MersalError | undefined {
  const ending = all.find((control) => control.kind === 'ends')
  if (ending?.kind === 'ends') return transactionIsOurs(`postgres: ${ending.words.toUpperCase()}`)
  // Nobody tells us how such a query went, and so which messages it has taken along.
  const foreign = typeof (config as { submit?: unknown } | null)?.submit === 'function'
  return foreign
    ? transactionIsOurs('postgres: a statement about savepoints in a query object of its own')
    : undefined
}

/** Sends the query and tells how it went. */
function observed(client: JoiningClient, given: unknown[], settle: Settle): unknown {
  const place = given.findIndex((one) => typeof one === 'function')
  const [config] = given as [{ readonly callback?: unknown } | undefined]
  const callback = place < 0 && typeof config === 'object' ? config.callback : given[place]
  if (typeof callback === 'function') {
    const told = (error: unknown, result: unknown): void => {
      settle(error === undefined || error === null)
      callback(error, result)
    }
    return client.query(
      ...(place < 0 ? [{ ...config, callback: told }, ...given.slice(1)] : given.with(place, told)),
    )
  }
  const result = client.query(...given) as Promise<unknown>
  result.then(
    () => settle(true),
    () => settle(false),
  )
  return result
}

interface Tags extends Disposable {
  /** A rollback to a savepoint is on its way, whose tag is that of any rollback. */
  rollsBack(): void
  ended(): boolean
}

/** Listens to what the server says that it did, whoever had asked for it. */
function watchTags(client: JoiningClient): Tags {
  const connection = client.connection as unknown as Record<
    'on' | 'off',
    (event: string, listener: (message: Tag) => void) => void
  >
  let begun = 0
  let rollbacks = 0
  let over = false
  const listener = ({ text }: Tag): void => {
    // Of all tags only these begin so.
    if (text.startsWith('BEGIN') || text.startsWith('START')) over ||= ++begun > 1
    else if (text.startsWith('ROLLBACK')) over ||= --rollbacks < 0
    else if (text.startsWith('COMMIT') || text.startsWith('PREPARE T')) over = true
  }
  connection.on('commandComplete', listener)
  return {
    rollsBack: () => void rollbacks++,
    ended: () => over,
    [Symbol.dispose]: () => connection.off('commandComplete', listener),
  }
}

interface Tag {
  readonly text: string
}
