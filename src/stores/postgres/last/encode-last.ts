import type { OutgoingMessage } from '../../../core/messages/message.ts'
import type { WrittenRow } from '../../../core/outbox.ts'
import {
  type Bound,
  Parameters,
  type Statement,
  types,
} from '../../../sql/postgres/unit/flight/wire.ts'
import { mayBeBorn, type Texts, textsOf } from '../encode.ts'
import type { LastStatements } from './last-statements.ts'

/** The token is a UUID. */
interface Express {
  readonly token: string
  readonly graceMs: number
}

interface Given extends Texts {
  readonly body: Uint8Array
}

/**
 * The statements that write these messages. Throws what is wrong with a message, so that nothing
 * can fail once they are sent, but by the server.
 */
export function encodeLast(
  sql: LastStatements,
  messages: readonly OutgoingMessage[],
  express: Express | undefined,
): readonly Bound[] {
  const given = messages.map((message): Given => ({ ...textsOf(message), body: message.body }))
  const [only] = given
  if (only !== undefined && given.length === 1) return encodeOne(sql, only, express)
  const written = isSame(given) ? encodeSame(sql, given, express) : encodeMany(sql, given, express)
  if (given.every(({ key }) => key === null)) return [written]
  const locks = express === undefined ? sql.locks : sql.locksToLook
  return [keysOf(new Parameters(locks), given).end(), written]
}

/**
 * What became of the messages. The rows need not come in the order of the messages, but positions
 * are drawn in it.
 */
export function writtenRows(
  messages: readonly OutgoingMessage[],
  rows: readonly (readonly (string | null)[])[],
): readonly WrittenRow[] {
  if (rows.length === 0) return messages.map(() => ({ kind: 'row' }))
  return rows
    .map(([position, born]): { kind: WrittenRow['kind']; position: bigint } => ({
      kind: born === 't' ? 'born-claimed' : 'row',
      position: BigInt(position as string),
    }))
    .sort((a, b) => (a.position < b.position ? -1 : 1))
}

function encodeOne(
  sql: LastStatements,
  given: Given,
  asked: Express | undefined,
): readonly Bound[] {
  const { key, delay, id, headers, body } = given
  const express = delay === 0 ? asked : undefined
  const statement = statementOfOne(sql, key !== null, express !== undefined)
  const parameters = destination(new Parameters(statement), given)
  parameters
    .uuid(id)
    .text(headers)
    .bytes(body)
    .float(express?.graceMs ?? delay)
  if (key !== null) parameters.text(key)
  if (express !== undefined) parameters.uuid(express.token)
  const written = parameters.end()
  if (key === null) return [written]
  const lock = express === undefined ? sql.lock : sql.lockToLook
  return [new Parameters(lock).text(key).end(), written]
}

function statementOfOne(sql: LastStatements, keyed: boolean, express: boolean): Statement {
  if (keyed) return express ? sql.oneKeyedExpress : sql.oneKeyed
  return express ? sql.oneExpress : sql.one
}

const destination = (parameters: Parameters, { type, transport, kind, name }: Given): Parameters =>
  parameters.text(type).text(transport).text(kind).text(name)

function isSame(given: readonly Given[]): boolean {
  const [first] = given
  return given.every(
    ({ type, transport, kind, name, delay }) =>
      delay === 0 &&
      type === first?.type &&
      name === first.name &&
      kind === first.kind &&
      transport === first.transport,
  )
}

function encodeSame(
  sql: LastStatements,
  given: readonly Given[],
  express: Express | undefined,
): Bound {
  const parameters = new Parameters(express === undefined ? sql.same : sql.sameExpress)
  contents(destination(parameters, given[0] as Given), given)
  if (express !== undefined) parameters.float(express.graceMs).uuid(express.token)
  return parameters.end()
}

function encodeMany(
  sql: LastStatements,
  given: readonly Given[],
  express: Express | undefined,
): Bound {
  const parameters = new Parameters(express === undefined ? sql.many : sql.manyExpress)
  for (const column of ['type', 'transport', 'kind', 'name'] as const)
    parameters.array(types.text, given, (one) => parameters.text(one[column]))
  contents(parameters, given)
  parameters.array(types.float8, given, ({ delay }) => parameters.float(delay))
  if (express === undefined) return parameters.end()
  parameters.array(types.boolean, mayBeBorn(given), (may) => parameters.boolean(may))
  return parameters.float(express.graceMs).uuid(express.token).end()
}

function contents(parameters: Parameters, given: readonly Given[]): Parameters {
  parameters.array(types.uuid, given, ({ id }) => parameters.uuid(id))
  parameters.array(types.text, given, ({ headers }) => parameters.text(headers))
  parameters.array(types.bytea, given, ({ body }) => parameters.bytes(body))
  return keysOf(parameters, given)
}

function keysOf(parameters: Parameters, given: readonly Given[]): Parameters {
  return parameters.array(types.text, given, ({ key }) =>
    key === null ? parameters.null() : parameters.text(key),
  )
}
