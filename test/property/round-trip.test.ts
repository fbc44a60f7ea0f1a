import fc from 'fast-check'
import type { Message } from 'amqplib'
import { expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { jsonSerializer } from '../../src/core/messages/serializer.ts'
import type { Store } from '../../src/core/store.ts'
import { memoryStore } from '../../src/memory.ts'
import { sqlite } from '../../src/sqlite.ts'
import { MersalError } from '../../src/index.ts'
import { claimedMessage, type MessageRow } from '../../src/sql/shared/rows.ts'
import { encodeMessages } from '../../src/stores/postgres/encode.ts'
import {
  toBuffer,
  toEnvelope,
  toProperties,
} from '../../src/transports/rabbitmq/publish/envelope.ts'
import { temporaryFolder } from '../contract/sqlite-harness.ts'
import { messages } from './arbitraries.ts'
import { holdsFor } from './check.ts'

const several = fc.array(messages, { minLength: 1, maxLength: 5 })

/** Plain fields, so that a body of one class equals the same bytes of another. */
const plain = ({ body, ...rest }: OutgoingMessage): unknown => ({
  ...rest,
  headers: { ...rest.headers },
  body: [...body],
})

async function throughStore<Tx>(
  store: Store<Tx>,
  sent: readonly OutgoingMessage[],
): Promise<OutgoingMessage[]> {
  await store.unitOfWork(async (tx) => void (await store.outbox.save(tx, sent)))
  const claimed = await store.outbox.claim({ limit: 100, claimMs: 60_000, token: 'token' })
  await store.outbox.settle(
    claimed.map(({ position, token }) => ({ kind: 'sent', position, token })),
  )
  return claimed.map(({ message }) => message)
}

test('a message leaves the memory store as it went in', async () => {
  await using store = memoryStore()
  await holdsFor([several], async (sent) =>
    expect((await throughStore(store, sent)).map(plain)).toEqual(sent.map(plain)),
  )
})

test('a message leaves the SQLite store as it went in', async () => {
  using folder = temporaryFolder()
  await using store = sqlite({ path: folder.file('outbox.db') })
  await store.open()
  await holdsFor(
    [several],
    async (sent) => expect((await throughStore(store, sent)).map(plain)).toEqual(sent.map(plain)),
    100,
  )
})

/** What PostgreSQL makes of the text of an array. */
function arrayOf(text: string): (string | null)[] {
  const elements = text.slice(1, -1).matchAll(/"((?:[^"\\]|\\.)*)"|([^,"]+)/gs)
  return [...elements].map(
    ([, quoted, plain]) =>
      quoted?.replaceAll(/\\(.)/gs, '$1') ?? (plain === 'NULL' ? null : (plain ?? null)),
  )
}

test('a message leaves the rows of the PostgreSQL store as it went in', async () => {
  await holdsFor([several], (sent) => {
    const [ids, , , , , types, transports, kinds, names, headers, starts, lengths, bodies, keys] =
      encodeMessages(sent, null, 0)
    const columns = {
      id: ids,
      type: types,
      transport: transports,
      kind: kinds,
      name: names,
      headers,
      start: starts,
      length: lengths,
      key: keys,
    }
    const arrays = Object.entries(columns).map(
      ([name, text]) => [name, text === undefined ? [] : arrayOf(text as string)] as const,
    )
    const decoded = sent.map((_, n) => {
      const row = Object.fromEntries(
        arrays.map(([name, values]) => [name, values[n] ?? null]),
      ) as Record<string, string>
      const start = Number(row['start']) - 1
      const body = (bodies as Uint8Array).subarray(start, start + Number(row['length']))
      const read = {
        ...(row as unknown as MessageRow),
        partition_key: row['key'] ?? null,
        withheld_bytes: null,
      }
      const claimed = claimedMessage({ ...read, position: String(n), attempts: 1, body }, 'token')
      if (claimed instanceof MersalError) throw claimed
      return claimed
    })
    expect(decoded.map((row) => plain(row.message))).toEqual(sent.map(plain))
  })
})

test('an envelope comes out of the properties and the content of RabbitMQ as it went in', async () => {
  await holdsFor([messages], ({ id, type, headers, body }) => {
    const properties = toProperties({ id, type, headers, body })
    const came = toEnvelope({ properties, content: toBuffer(body) } as unknown as Message)
    expect({ ...came, body: [...came.body] }).toEqual({
      id,
      type,
      headers: { ...headers },
      body: [...body],
    })
  })
})

test('what JSON can say comes out of the serializer as JSON would give it back', async () => {
  await holdsFor([fc.jsonValue({ noUnicodeString: false })], (value) => {
    expect(jsonSerializer.decode(jsonSerializer.encode(value))).toEqual(
      JSON.parse(JSON.stringify(value)),
    )
  })
})
