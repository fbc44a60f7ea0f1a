import fc from 'fast-check'
import { expect, test } from 'vitest'
import { logToken } from '../../src/core/commit-log.ts'
import { loggedRow } from '../../src/stores/postgres/log/logged-rows.ts'
import { pgoutputDecoder } from '../../src/stores/postgres/log/pgoutput.ts'
import { holdsFor } from './check.ts'

const RELATION = 7
const columns = 'position id key visible_at token type transport kind name headers body added_at'

const short = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
const int = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const long = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(value)
  return bytes
}
const name = (text: string): Buffer => Buffer.from(`${text}\0`)
const uuid = (text: string): Buffer => Buffer.from(text.replaceAll('-', ''), 'hex')

/** As PostgreSQL describes the table. */
const relation = Buffer.concat([
  Buffer.from('R'),
  int(RELATION),
  name('mersal'),
  name('outbox'),
  Buffer.from('d'),
  short(columns.split(' ').length),
  ...columns
    .split(' ')
    .map((column) => Buffer.concat([Buffer.of(0), name(column), int(25), int(0)])),
])

function insert(values: readonly (Buffer | null)[]): Buffer {
  const told = values.map((value) =>
    value === null
      ? Buffer.from('n')
      : Buffer.concat([Buffer.from('b'), int(value.byteLength), value]),
  )
  return Buffer.concat([
    Buffer.from('I'),
    int(RELATION),
    Buffer.from('N'),
    short(values.length),
    ...told,
  ])
}

interface Given {
  readonly position: bigint
  readonly key: string | null
  readonly body: Uint8Array
  readonly token: string
}

const ID = '01a22bc3-52f9-7a65-9c41-3144aec3403c'

const row = ({ position, key, body, token }: Given): Buffer =>
  insert([
    long(position),
    uuid(ID),
    key === null ? null : Buffer.from(key),
    long(10_000_000n),
    uuid(token),
    ...['orders.placed', 'default', 'topic', 'orders.placed', '{"a":"ä"}'].map((text) =>
      Buffer.from(text),
    ),
    Buffer.from(body),
    long(4_000_000n),
  ])

const position = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n })
const key = fc.option(fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }), { nil: null })
const body = fc.uint8Array({ maxLength: 300 })
const token = fc.uuid({ version: 7 })

test('P12: a row of the log is the message that was written, byte for byte', async () => {
  await holdsFor([position, key, body, token], (at, partitionKey, bytes, made) => {
    const decode = pgoutputDecoder()
    decode(relation)
    const frame = decode(
      row({ position: at, key: partitionKey, body: bytes, token: logToken(made) }),
    )
    const logged = frame.kind === 'insert' ? loggedRow(frame.row) : undefined
    if (logged === undefined) return expect(partitionKey?.includes('\0')).toBe(true)
    expect(logged.row).toMatchObject({ position: at, attempt: 0, token: logToken(made) })
    expect(logged.row.message).toEqual({
      id: ID,
      type: 'orders.placed',
      headers: { a: 'ä' },
      body: bytes,
      to: { transport: 'default', kind: 'topic', name: 'orders.placed' },
      ...(partitionKey === null ? {} : { partitionKey }),
    })
    expect([logged.visibleAt, logged.graceMs]).toEqual([10_000_000n, 6000])
  })
})

test('a row that another writer holds is left to it', async () => {
  await holdsFor([position, token], (at, made) => {
    const decode = pgoutputDecoder()
    decode(relation)
    const frame = decode(row({ position: at, key: null, body: new Uint8Array(), token: made }))
    expect(frame.kind === 'insert' && loggedRow(frame.row)).toBeUndefined()
  })
})

/** Reads them as frames; whatever is wrong with them must be said, and nothing else may happen. */
function read(frames: readonly Uint8Array[]): void {
  const decode = pgoutputDecoder()
  for (const bytes of frames) {
    try {
      const frame = decode(Buffer.from(bytes))
      if (frame.kind === 'insert') loggedRow(frame.row)
    } catch (error) {
      expect(error instanceof RangeError || error instanceof TypeError).toBe(true)
    }
  }
}

test('arbitrary bytes, cut frames and changed bytes are refused or passed over', async () => {
  const valid = row({ position: 1n, key: 'a', body: Buffer.from('body'), token: logToken(ID) })
  await holdsFor([fc.array(fc.uint8Array({ maxLength: 80 }))], (frames) => read(frames), 500)
  await holdsFor([fc.nat(valid.byteLength)], (length) =>
    read([relation, valid.subarray(0, length)]),
  )
  await holdsFor([fc.nat(relation.byteLength - 1), fc.nat(255)], (at, byte) => {
    const changed = Buffer.from(relation)
    changed[at] = byte
    read([changed, valid])
  })
  await holdsFor([fc.nat(valid.byteLength - 1), fc.nat(255)], (at, byte) => {
    const changed = Buffer.from(valid)
    changed[at] = byte
    read([relation, changed])
  })
})
