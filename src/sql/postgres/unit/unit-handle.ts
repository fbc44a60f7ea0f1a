import type { MersalError } from '../../../core/errors/errors.ts'
import type { PostgresClient, PostgresPoolClient } from '../client.ts'
import type { JoiningClient } from './flight/client.ts'
import { SavepointLog, type Settle } from '../../units/savepoint-log.ts'
import { postgresDialect } from '../../units/statement-scan.ts'
import {
  type Controls,
  controlsOf,
  handleRevoked,
  transactionIsOurs,
} from '../../units/transaction-words.ts'
import { Tags } from './tags.ts'
import { refuse } from './flight/waiting.ts'

/** What a unit lends to its work in place of the client itself. */
export interface UnitHandle {
  readonly tx: PostgresClient
  readonly log: SavepointLog
  /**
   * The server has ended the transaction, or has begun another one, although none of our statements
   * said so.
   */
  ended(): boolean
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
export function unitHandle(client: PostgresPoolClient): LentHandle {
  const handle = new Handle(client)
  handles.set(handle.tx, handle)
  return handle
}

/** As `UnitHandle`, for the unit itself. */
export interface LentHandle extends UnitHandle {
  readonly tags: Tags
}

class Handle implements LentHandle, ProxyHandler<PostgresPoolClient> {
  readonly tx: PostgresClient
  readonly log = new SavepointLog()
  readonly tags = new Tags()
  readonly #client: PostgresPoolClient
  /** In place of what the client has. */
  readonly #own = new Map<PropertyKey, unknown>()
  #revoked = false

  constructor(client: PostgresPoolClient) {
    this.#client = client
    this.#own.set('query', (...given: unknown[]) => this.#query(given))
    this.tx = new Proxy(client, this)
  }

  ended(): boolean {
    return this.tags.ended
  }

  revoke(): void {
    this.#revoked = true
    this.tags.stop()
  }

  get(target: PostgresPoolClient, name: PropertyKey): unknown {
    const known = this.#own.get(name)
    if (known !== undefined || this.#own.has(name)) return known
    const made = this.#instead(name)
    if (made !== undefined) return this.#keep(name, made)
    const value: unknown = Reflect.get(target, name, target)
    // The methods of a client keep its state, which must stay in one place.
    if (typeof value !== 'function' || name === 'constructor') return value
    return this.#keep(name, value.bind(target))
  }

  /** What is put on the handle goes with it; the client is lent to others afterwards. */
  set(_target: PostgresPoolClient, name: PropertyKey, value: unknown): boolean {
    this.#own.set(name, value)
    return true
  }

  #keep(name: PropertyKey, value: unknown): unknown {
    this.#own.set(name, value)
    return value
  }

  #instead(name: PropertyKey): unknown {
    switch (name) {
      case 'getTransactionStatus':
        return () => (this.#revoked ? 'I' : this.#client.getTransactionStatus())
      case 'release':
      case 'end':
        return (): never => {
          throw transactionIsOurs(`postgres: ${name}() of the client`)
        }
      default:
        return undefined
    }
  }

  #query(given: unknown[]): unknown {
    const client = this.#client as unknown as JoiningClient
    if (this.#revoked) return refuse(given, client, handleRevoked('postgres'))
    return guarded(client, given, this)
  }
}

function guarded(
  client: JoiningClient,
  given: unknown[],
  { log, tags }: Pick<LentHandle, 'log' | 'tags'>,
): unknown {
  const controls = controlsOfQuery(client, given[0])
  if (controls === undefined) return client.query(...given)
  const refusal = refusalOf(controls, given[0])
  if (refusal !== undefined) return refuse(given, client, refusal)
  for (const control of controls.all) if (control.kind === 'rollback to') tags.rollsBack()
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
